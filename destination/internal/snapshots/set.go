package snapshots

import (
	"bytes"
	"cmp"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
)

// A LiveFile is a data file of a snapshot, with the delete files that apply to it
// alone.
type LiveFile struct {
	Data     iceberg.DataFile
	Sequence int64  // its data sequence number
	Snapshot int64  // that added it
	Manifest string // path of the manifest that names it
	Deletes  []DeleteFile
	Older    parquetfile.Positions // rows of an older generation, which count as deleted
}

// A DeleteFile is a delete file of a snapshot.
type DeleteFile struct {
	Data     iceberg.DataFile
	Sequence int64
	Manifest string
}

// A Set is what a snapshot consists of.
type Set struct {
	Manifests       []iceberg.ManifestFile
	Files           []*LiveFile
	Deletes         []DeleteFile // every delete file
	SharedDeletes   []DeleteFile // of those, position deletes of several data files: other writers write these
	EqualityDeletes int          // of those, equality deletes, which this program never writes
}

// Has reports whether a data file is among those of the set.
func (s *Set) Has(f *LiveFile) bool {
	return slices.ContainsFunc(s.Files, func(have *LiveFile) bool { return have.Data.FilePath() == f.Data.FilePath() })
}

// SortByArrival brings the data files into the order in which their rows arrived: by
// commit, and those of one commit as it named them.
func (s *Set) SortByArrival(meta table.Metadata) { slices.SortStableFunc(s.Files, ByCommit(meta)) }

// ByCommit compares data files by when their rows were committed. Those of tables of format
// version 1 have no sequence numbers, and keep that when the table is upgraded. There the
// snapshots that added the files tell, those that have expired being the oldest.
func ByCommit(meta table.Metadata) func(a, b *LiveFile) int {
	places := map[int64]int{}
	for i, snapshot := range meta.Snapshots() {
		places[snapshot.SnapshotID] = i + 1
	}
	return func(a, b *LiveFile) int {
		if a.Sequence == 0 && b.Sequence == 0 {
			return cmp.Compare(places[a.Snapshot], places[b.Snapshot])
		}
		return cmp.Compare(a.Sequence, b.Sequence)
	}
}

// A Cache keeps what manifests name between the attempts at a commit.
// Manifests never change.
type Cache map[string][]iceberg.ManifestEntry

// List lists the files of a snapshot, none when it is nil.
func (s *Storage) List(snapshot *table.Snapshot, cache Cache) (*Set, error) {
	set := &Set{}
	if snapshot == nil {
		return set, nil
	}
	var err error
	if set.Manifests, err = snapshot.Manifests(s.Files); err != nil {
		return nil, fmt.Errorf("listing the files of table %s: %w", s.Table, err)
	}
	byPath := map[string]*LiveFile{}
	for _, m := range set.Manifests {
		entries, ok := cache[m.FilePath()]
		if !ok {
			for entry, err := range m.Entries(s.Files, true) {
				if err != nil {
					return nil, fmt.Errorf("listing the files of table %s: reading %s: %w", s.Table, m.FilePath(), err)
				}
				entries = append(entries, entry)
			}
			cache[m.FilePath()] = entries
		}
		for _, entry := range entries {
			data := entry.DataFile()
			switch data.ContentType() {
			case iceberg.EntryContentData:
				f := &LiveFile{Data: data, Sequence: entry.SequenceNum(), Snapshot: entry.SnapshotID(), Manifest: m.FilePath()}
				set.Files = append(set.Files, f)
				byPath[data.FilePath()] = f
			default:
				set.Deletes = append(set.Deletes, DeleteFile{Data: data, Sequence: entry.SequenceNum(), Manifest: m.FilePath()})
			}
		}
	}
	for _, d := range set.Deletes {
		if d.Data.ContentType() == iceberg.EntryContentEqDeletes {
			set.EqualityDeletes++
			continue
		}
		target, single := deleteTarget(d.Data)
		if !single {
			set.SharedDeletes = append(set.SharedDeletes, d)
			continue
		}
		// A delete of a file that is gone, or newer than the delete, is dead.
		if f, ok := byPath[target]; ok && d.Sequence >= f.Sequence {
			f.Deletes = append(f.Deletes, d)
		}
	}
	return set, nil
}

// deleteTarget returns the one data file a position delete file is about.
func deleteTarget(d iceberg.DataFile) (string, bool) {
	if ref := d.ReferencedDataFile(); ref != nil {
		return *ref, true
	}
	low, high := d.LowerBoundValues()[deletePathField.ID], d.UpperBoundValues()[deletePathField.ID]
	// A bound may be a prefix of the path; it is whole if it is a file's name.
	if len(low) == 0 || !bytes.Equal(low, high) {
		return "", false
	}
	return string(low), true
}
