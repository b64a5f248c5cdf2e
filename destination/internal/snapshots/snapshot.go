// Package snapshots is what a snapshot of a table consists of, and how the next
// one is written.
package snapshots

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

const (
	// manifestBytes is the size at which a manifest is full, Iceberg's default.
	manifestBytes = 8 << 20
	// maxSmallManifests is how many manifests of one kind may be smaller than
	// that. The next commit merges more, so that the cost of a commit and of
	// planning a scan does not grow with the number of commits.
	maxSmallManifests = 20
)

// snapshotWriter writes the manifests of one snapshot.
type snapshotWriter struct {
	s     *Storage
	meta  table.Metadata
	c     *Change
	id    int64
	name  string // what the names of its files start with
	count int
	outs  map[int32]*manifestOutput // by spec: a manifest is of one
	total summary
}

// Write writes the manifests of the snapshot that follows parent, nil for the
// first, with a change applied. It describes the new snapshot, whose summary has
// props besides the counts.
func (s *Storage) Write(ctx context.Context, meta table.Metadata, parent *table.Snapshot, c *Change, props iceberg.Properties) (*table.Snapshot, error) {
	w := &snapshotWriter{s: s, meta: meta, c: c, id: newSnapshotID(meta), name: uuid.NewString()}
	var parentID *int64
	var manifests []iceberg.ManifestFile
	if parent != nil {
		parentID = &parent.SnapshotID
		var err error
		if manifests, err = parent.Manifests(s.Files); err != nil {
			return nil, fmt.Errorf("reading the manifests of table %s: %w", s.Table, err)
		}
	}
	var list []iceberg.ManifestFile
	for _, content := range []iceberg.ManifestContent{iceberg.ManifestContentData, iceberg.ManifestContentDeletes} {
		written, err := w.manifests(ctx, content, manifests)
		if err != nil {
			return nil, errors.Join(err, w.abort())
		}
		list = append(list, written...)
	}
	var sequence int64 // format version 1 has none
	if meta.Version() > 1 {
		sequence = meta.LastSequenceNumber() + 1
	}
	path := s.Locations.NewMetadataLocation(fmt.Sprintf("snap-%d-0-%s%s.avro", w.id, w.name, filenames.Mark))
	c.Written = append(c.Written, path)
	snapshot := &table.Snapshot{
		SnapshotID:       w.id,
		ParentSnapshotID: parentID,
		SequenceNumber:   sequence,
		ManifestList:     path,
		Summary:          w.total.after(parent, c.Operation, props),
		SchemaID:         &meta.CurrentSchema().ID,
		// Not before the table's last change, which may be another machine's.
		TimestampMs: max(time.Now().UnixMilli(), meta.LastUpdatedMillis()),
	}
	out, err := s.Files.Create(path)
	if err != nil {
		return nil, fmt.Errorf("writing the manifest list of table %s: %w", s.Table, err)
	}
	if err := storage.Complete(s.Files, path, out, writeManifestList(out, meta, snapshot, list)); err != nil {
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
		if len(small[id])+1 > maxSmallManifests {
			rewrite = append(rewrite, small[id]...)
		} else {
			kept = append(kept, small[id]...)
		}
	}

	w.outs = map[int32]*manifestOutput{}
	put := func(id int32, e iceberg.ManifestEntry) error {
		if w.outs[id] == nil {
			spec := w.meta.PartitionSpecByID(int(id))
			if spec == nil {
				return fmt.Errorf("writing the manifests of table %s: unknown partition spec %d", w.s.Table, id)
			}
			w.outs[id] = &manifestOutput{w: w, content: content, spec: *spec}
		}
		return w.outs[id].entry(e)
	}
	for _, f := range w.c.Add {
		if (f.ContentType() == iceberg.EntryContentData) != (content == iceberg.ManifestContentData) {
			continue
		}
		w.total.add(f)
		var sequence *int64
		if n, ok := w.c.Sequences[f.FilePath()]; ok && w.meta.Version() > 1 {
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
		for entry, err := range m.Entries(w.s.Files, true) {
			if err != nil {
				return nil, fmt.Errorf("rewriting manifest %s: %w", m.FilePath(), err)
			}
			if entry = w.carried(entry); entry == nil {
				continue
			}
			if err := put(m.PartitionSpecID(), entry); err != nil {
				return nil, err
			}
		}
	}
	var written []iceberg.ManifestFile
	for _, id := range slices.Sorted(maps.Keys(w.outs)) {
		of, err := w.outs[id].close()
		if err != nil {
			return nil, err
		}
		written = append(written, of...)
	}
	return append(written, kept...), nil
}

// abort gives up the manifests that are open.
func (w *snapshotWriter) abort() error {
	var errs []error
	for _, o := range w.outs {
		errs = append(errs, o.abort())
	}
	return errors.Join(errs...)
}

// carried is the entry for a file of the parent; nil: it has none.
func (w *snapshotWriter) carried(entry iceberg.ManifestEntry) iceberg.ManifestEntry {
	sequence := entry.SequenceNum()
	if _, isRemoved := w.c.removed[KeyOf(entry.DataFile())]; isRemoved {
		w.total.remove(entry.DataFile())
		if w.c.OmitRemoved {
			return nil
		}
		return iceberg.NewManifestEntry(iceberg.EntryStatusDELETED, &w.id, &sequence, entry.FileSequenceNum(), entry.DataFile())
	}
	if entry.Status() == iceberg.EntryStatusADDED {
		id := entry.SnapshotID()
		return iceberg.NewManifestEntry(iceberg.EntryStatusEXISTING, &id, &sequence, entry.FileSequenceNum(), entry.DataFile())
	}
	return entry
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
