package lake

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
)

// change is what one commit does to the files of a table. The library has an
// operation for some of the combinations but none for all of them in one
// snapshot, and none that keeps the number of manifests down, so the snapshot
// is written here, from the library's manifest writers.
type change struct {
	operation table.Operation
	add       []iceberg.DataFile   // data files and position delete files
	remove    map[fileKey]struct{} // live data files and delete files
	touched   map[string]struct{}  // paths of the manifests that name those
	made      []string             // files written for this attempt alone
	unused    []string             // staged files that are not needed once it has landed
	forced    bool                 // it makes a snapshot even when no file changes

	// Data sequence numbers of added files whose rows were in the table before,
	// by path: what is added otherwise is the latest there is.
	sequences map[string]int64
}

func (c *change) drop(data iceberg.DataFile, manifest string) {
	if c.remove == nil {
		c.remove, c.touched = map[fileKey]struct{}{}, map[string]struct{}{}
	}
	c.remove[keyOf(data)] = struct{}{}
	c.touched[manifest] = struct{}{}
}

// fileKey tells the files of a snapshot apart. One Puffin file may hold the
// deletion vectors of several data files, with an entry for each.
type fileKey struct{ path, references string }

func keyOf(f iceberg.DataFile) fileKey {
	k := fileKey{path: f.FilePath()}
	if ref := f.ReferencedDataFile(); ref != nil && f.FileFormat() == iceberg.PuffinFile {
		k.references = *ref
	}
	return k
}

func (c *change) empty() bool { return !c.forced && len(c.add) == 0 && len(c.remove) == 0 }

const (
	// manifestBytes is the size at which a manifest is full, Iceberg's default.
	manifestBytes = 8 << 20
	// manyManifests of one kind that are not full are merged by the next
	// commit, so that the cost of a commit and of planning a scan does not grow
	// with the number of commits.
	manyManifests = 20
)

// snapshotWriter writes the manifests of one snapshot.
type snapshotWriter struct {
	t     *Table
	base  *table.Table
	c     *change
	id    int64
	name  string // what the names of its files start with
	count int
	total summary
}

// writeSnapshot writes the manifests of base with c applied, and describes the
// snapshot they make.
func (t *Table) writeSnapshot(ctx context.Context, base *table.Table, c *change, token string) (*table.Snapshot, error) {
	meta := base.Metadata()
	w := &snapshotWriter{t: t, base: base, c: c, id: newSnapshotID(meta), name: uuid.NewString()}
	var parent *int64
	var before *table.Snapshot
	var manifests []iceberg.ManifestFile
	if before = t.tip(base); before != nil {
		parent = &before.SnapshotID
		var err error
		if manifests, err = before.Manifests(t.files); err != nil {
			return nil, fmt.Errorf("reading the manifests of table %s: %w", t, err)
		}
	}
	var list []iceberg.ManifestFile
	for _, content := range []iceberg.ManifestContent{iceberg.ManifestContentData, iceberg.ManifestContentDeletes} {
		written, err := w.manifests(ctx, content, manifests)
		if err != nil {
			return nil, err
		}
		list = append(list, written...)
	}
	var sequence int64 // format version 1 has none
	if meta.Version() > 1 {
		sequence = meta.LastSequenceNumber() + 1
	}
	path := t.locations.NewMetadataLocation(fmt.Sprintf("snap-%d-0-%s%s.avro", w.id, w.name, filenames.Mark))
	c.made = append(c.made, path)
	snapshot := &table.Snapshot{
		SnapshotID:       w.id,
		ParentSnapshotID: parent,
		SequenceNumber:   sequence,
		ManifestList:     path,
		Summary:          w.total.after(before, c.operation, token),
		SchemaID:         &meta.CurrentSchema().ID,
		// Not before the table's last change, which may be another machine's.
		TimestampMs: max(time.Now().UnixMilli(), meta.LastUpdatedMillis()),
	}
	out, err := t.files.Create(path)
	if err != nil {
		return nil, fmt.Errorf("writing the manifest list of table %s: %w", t, err)
	}
	err = writeManifestList(out, meta, snapshot, list)
	if err = errors.Join(err, out.Close()); err != nil {
		return nil, fmt.Errorf("writing manifest list %s: %w", path, err)
	}
	return snapshot, nil
}

func writeManifestList(out io.Writer, meta table.Metadata, s *table.Snapshot, list []iceberg.ManifestFile) error {
	var w *iceberg.ManifestListWriter
	var err error
	var firstRow int64
	switch meta.Version() {
	case 1:
		w, err = iceberg.NewManifestListWriterV1(out, s.SnapshotID, s.ParentSnapshotID)
	case 2:
		w, err = iceberg.NewManifestListWriterV2(out, s.SnapshotID, s.SequenceNumber, s.ParentSnapshotID)
	default:
		firstRow = meta.NextRowID()
		w, err = iceberg.NewManifestListWriterV3(out, s.SnapshotID, s.SequenceNumber, firstRow, s.ParentSnapshotID)
	}
	if err != nil {
		return err
	}
	if err := w.AddManifests(list); err != nil {
		return errors.Join(err, w.Close())
	}
	if next := w.NextRowID(); meta.Version() >= 3 && next != nil {
		rows := *next - firstRow
		s.FirstRowID, s.AddedRows = &firstRow, &rows
	}
	return w.Close()
}

// manifests returns the snapshot's manifests of one content: those of the
// parent that stay as they are, and new ones for what is added, removed or
// merged.
func (w *snapshotWriter) manifests(ctx context.Context, content iceberg.ManifestContent, parent []iceberg.ManifestFile) ([]iceberg.ManifestFile, error) {
	var kept, rewrite []iceberg.ManifestFile
	small := map[int32][]iceberg.ManifestFile{} // by spec
	for _, m := range parent {
		_, touched := w.c.touched[m.FilePath()]
		switch {
		case m.ManifestContent() != content, !m.HasAddedFiles() && !m.HasExistingFiles():
		case touched:
			rewrite = append(rewrite, m)
		case m.Length() < manifestBytes:
			small[m.PartitionSpecID()] = append(small[m.PartitionSpecID()], m)
		default:
			kept = append(kept, m)
		}
	}
	for _, id := range slices.Sorted(maps.Keys(small)) {
		if len(small[id])+1 > manyManifests {
			rewrite = append(rewrite, small[id]...)
		} else {
			kept = append(kept, small[id]...)
		}
	}

	outs := map[int32]*manifestOutput{} // a manifest is of one spec
	put := func(id int32, e iceberg.ManifestEntry) error {
		if outs[id] == nil {
			spec := w.base.Metadata().PartitionSpecByID(int(id))
			if spec == nil {
				return fmt.Errorf("writing the manifests of table %s: unknown partition spec %d", w.t, id)
			}
			outs[id] = &manifestOutput{w: w, content: content, spec: *spec}
		}
		return outs[id].entry(e)
	}
	for _, f := range w.c.add {
		if (f.ContentType() == iceberg.EntryContentData) != (content == iceberg.ManifestContentData) {
			continue
		}
		w.total.add(f)
		var sequence *int64
		if n, ok := w.c.sequences[f.FilePath()]; ok && w.base.Metadata().Version() > 1 {
			sequence = &n
		}
		entry := iceberg.NewManifestEntry(iceberg.EntryStatusADDED, &w.id, sequence, nil, f)
		if err := put(f.SpecID(), entry); err != nil {
			return nil, err
		}
	}
	for _, m := range rewrite {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		for entry, err := range m.Entries(w.t.files, true) {
			if err != nil {
				return nil, fmt.Errorf("rewriting manifest %s: %w", m.FilePath(), err)
			}
			if _, gone := w.c.remove[keyOf(entry.DataFile())]; gone {
				w.total.remove(entry.DataFile())
				sequence := entry.SequenceNum()
				entry = iceberg.NewManifestEntry(iceberg.EntryStatusDELETED, &w.id, &sequence, entry.FileSequenceNum(), entry.DataFile())
			} else if entry.Status() == iceberg.EntryStatusADDED {
				id, sequence := entry.SnapshotID(), entry.SequenceNum()
				entry = iceberg.NewManifestEntry(iceberg.EntryStatusEXISTING, &id, &sequence, entry.FileSequenceNum(), entry.DataFile())
			}
			if err := put(m.PartitionSpecID(), entry); err != nil {
				return nil, err
			}
		}
	}
	var written []iceberg.ManifestFile
	for _, id := range slices.Sorted(maps.Keys(outs)) {
		of, err := outs[id].close()
		if err != nil {
			return nil, err
		}
		written = append(written, of...)
	}
	return append(written, kept...), nil
}

func newSnapshotID(meta table.Metadata) int64 {
	for {
		u := uuid.New()
		var id int64
		for _, b := range u[:8] {
			id = id<<8 | int64(b)
		}
		if id &= 1<<63 - 1; id != 0 && meta.SnapshotByID(id) == nil {
			return id
		}
	}
}

// summary counts what a snapshot adds and removes, by the names Iceberg gives
// the counts.
type summary struct{ added, removed fileCounts }

type fileCounts struct{ dataFiles, records, deleteFiles, positionFiles, positions, equalityFiles, equalities, bytes int64 }

func (c *fileCounts) add(f iceberg.DataFile) {
	c.bytes += f.FileSizeBytes()
	switch f.ContentType() {
	case iceberg.EntryContentData:
		c.dataFiles++
		c.records += f.Count()
	case iceberg.EntryContentPosDeletes:
		c.deleteFiles++
		c.positionFiles++
		c.positions += f.Count()
	default:
		c.deleteFiles++
		c.equalityFiles++
		c.equalities += f.Count()
	}
}

func (s *summary) add(f iceberg.DataFile)    { s.added.add(f) }
func (s *summary) remove(f iceberg.DataFile) { s.removed.add(f) }

// after is the summary of a snapshot that follows another, or none.
func (s *summary) after(parent *table.Snapshot, op table.Operation, token string) *table.Summary {
	props := iceberg.Properties{tokenKey: token}
	previous := iceberg.Properties{}
	if parent != nil && parent.Summary != nil {
		previous = parent.Summary.Properties
	}
	for _, n := range []struct {
		added, removed, total string
		plus, minus           int64
	}{
		{"added-data-files", "deleted-data-files", "total-data-files", s.added.dataFiles, s.removed.dataFiles},
		{"added-records", "deleted-records", "total-records", s.added.records, s.removed.records},
		{"added-delete-files", "removed-delete-files", "total-delete-files", s.added.deleteFiles, s.removed.deleteFiles},
		{"added-position-delete-files", "removed-position-delete-files", "", s.added.positionFiles, s.removed.positionFiles},
		{"added-position-deletes", "removed-position-deletes", "total-position-deletes", s.added.positions, s.removed.positions},
		{"added-files-size", "removed-files-size", "total-files-size", s.added.bytes, s.removed.bytes},
		{"added-equality-delete-files", "removed-equality-delete-files", "", s.added.equalityFiles, s.removed.equalityFiles},
		{"added-equality-deletes", "removed-equality-deletes", "total-equality-deletes", s.added.equalities, s.removed.equalities},
	} {
		if n.plus > 0 {
			props[n.added] = strconv.FormatInt(n.plus, 10)
		}
		if n.minus > 0 {
			props[n.removed] = strconv.FormatInt(n.minus, 10)
		}
		if n.total != "" {
			props[n.total] = strconv.FormatInt(max(0, previous.GetInt64(n.total, 0)+n.plus-n.minus), 10)
		}
	}
	return &table.Summary{Operation: op, Properties: props}
}
