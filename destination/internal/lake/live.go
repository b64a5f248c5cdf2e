package lake

import (
	"bytes"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
)

// liveFile is a data file of a snapshot with the delete files that apply to it
// alone.
type liveFile struct {
	data     iceberg.DataFile
	sequence int64  // its data sequence number
	manifest string // that names it
	deletes  []deleteFile
	older    parquetfile.Positions // rows that count as deleted, as they are of an older generation
}

// deleteFile is a delete file of a snapshot.
type deleteFile struct {
	data     iceberg.DataFile
	sequence int64
	manifest string
}

// liveSet is what a snapshot consists of.
type liveSet struct {
	manifests []iceberg.ManifestFile
	files     []*liveFile
	deletes   []deleteFile // every delete file
	shared    []deleteFile // of those, position deletes of several data files, as other writers make them
	equality  int          // of those, equality deletes, which this program never writes
}

// holds reports whether a data file is among those of the set.
func (s *liveSet) holds(f *liveFile) bool {
	return slices.ContainsFunc(s.files, func(have *liveFile) bool { return have.data.FilePath() == f.data.FilePath() })
}

// manifestCache keeps what manifests name between the attempts at a commit.
// Manifests never change.
type manifestCache map[string][]iceberg.ManifestEntry

// live lists the files of the snapshot that commits follow.
func (t *Table) live(base *table.Table, cache manifestCache) (*liveSet, error) {
	return t.liveAt(t.tip(base), cache)
}

// liveAt lists the files of a snapshot, none when it is nil.
func (t *Table) liveAt(snapshot *table.Snapshot, cache manifestCache) (*liveSet, error) {
	set := &liveSet{}
	if snapshot == nil {
		return set, nil
	}
	var err error
	if set.manifests, err = snapshot.Manifests(t.files); err != nil {
		return nil, fmt.Errorf("listing the files of table %s: %w", t, err)
	}
	byPath := map[string]*liveFile{}
	for _, m := range set.manifests {
		entries, ok := cache[m.FilePath()]
		if !ok {
			for entry, err := range m.Entries(t.files, true) {
				if err != nil {
					return nil, fmt.Errorf("listing the files of table %s: reading %s: %w", t, m.FilePath(), err)
				}
				entries = append(entries, entry)
			}
			cache[m.FilePath()] = entries
		}
		for _, entry := range entries {
			data := entry.DataFile()
			switch data.ContentType() {
			case iceberg.EntryContentData:
				f := &liveFile{data: data, sequence: entry.SequenceNum(), manifest: m.FilePath()}
				set.files = append(set.files, f)
				byPath[data.FilePath()] = f
			default:
				set.deletes = append(set.deletes, deleteFile{data: data, sequence: entry.SequenceNum(), manifest: m.FilePath()})
			}
		}
	}
	for _, d := range set.deletes {
		if d.data.ContentType() == iceberg.EntryContentEqDeletes {
			set.equality++
			continue
		}
		target, single := deleteTarget(d.data)
		if !single {
			set.shared = append(set.shared, d)
			continue
		}
		// A delete of a file that is gone, or newer than the delete, is dead.
		if f, ok := byPath[target]; ok && d.sequence >= f.sequence {
			f.deletes = append(f.deletes, d)
		}
	}
	return set, nil
}

// deleteTarget returns the one data file a position delete file is about.
func deleteTarget(d iceberg.DataFile) (string, bool) {
	if ref := d.ReferencedDataFile(); ref != nil {
		return *ref, true
	}
	path := iceberg.PositionalDeleteSchema.Field(0).ID
	low, high := d.LowerBoundValues()[path], d.UpperBoundValues()[path]
	// A bound may be a prefix of the path; it is whole if it is a file's name.
	if len(low) == 0 || !bytes.Equal(low, high) {
		return "", false
	}
	return string(low), true
}
