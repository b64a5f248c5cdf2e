package snapshots

import (
	"encoding/json"
	"fmt"
	"io"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// manifestOutput writes entries of a spec's files into as few manifests as their
// size allows.
type manifestOutput struct {
	w       *snapshotWriter
	content iceberg.ManifestContent
	spec    iceberg.PartitionSpec
	path    string
	out     io.WriteCloser // nil: none is open
	bytes   int64
	entries *iceberg.ManifestWriter // nil: none is open, or it could not be begun
	written []iceberg.ManifestFile
}

func (o *manifestOutput) entry(e iceberg.ManifestEntry) error {
	if o.entries != nil && o.bytes >= manifestBytes {
		if err := o.finish(); err != nil {
			return err
		}
	}
	if o.entries == nil {
		if err := o.start(); err != nil {
			return err
		}
	}
	var err error
	switch e.Status() {
	case iceberg.EntryStatusADDED:
		err = o.entries.Add(e)
	case iceberg.EntryStatusEXISTING:
		err = o.entries.Existing(e)
	default:
		err = o.entries.Delete(e)
	}
	if err != nil {
		return fmt.Errorf("writing manifest %s: %w", o.path, err)
	}
	return nil
}

func (o *manifestOutput) start() error {
	o.w.count++
	o.path = o.w.s.Locations.NewMetadataLocation(fmt.Sprintf("%s-m%d%s.avro", o.w.name, o.w.count, filenames.Mark))
	o.w.c.Written = append(o.w.c.Written, o.path)
	out, err := o.w.s.Files.Create(o.path)
	if err != nil {
		return fmt.Errorf("creating manifest %s: %w", o.path, err)
	}
	o.out, o.bytes = out, 0
	meta := o.w.meta
	schema, err := headerSchema(meta.CurrentSchema(), o.spec)
	if err == nil {
		o.entries, err = iceberg.NewManifestWriter(meta.Version(), o, tabledef.ForManifests(o.spec), schema, o.w.id, iceberg.WithManifestWriterContent(o.content))
	}
	if err != nil {
		return fmt.Errorf("creating manifest %s: %w", o.path, err)
	}
	return nil
}

// headerSchema is the schema that a manifest has in its header, for readers who
// do not know what its partition fields are made of. The library writes no more
// than a mebibyte there, which a table of ten thousand columns exceeds; its
// header has only the columns that it is partitioned by.
func headerSchema(s *iceberg.Schema, spec iceberg.PartitionSpec) (*iceberg.Schema, error) {
	const maxHeader = 1 << 20
	text, err := json.Marshal(s)
	if err != nil || len(text) <= maxHeader {
		return s, err
	}
	var sources []iceberg.NestedField
	for _, column := range s.Fields() {
		inside, err := iceberg.IndexByID(iceberg.NewSchema(0, column))
		if err != nil {
			return nil, err
		}
		for _, f := range spec.Fields() {
			if _, ok := inside[f.SourceID()]; ok {
				sources = append(sources, column)
				break
			}
		}
	}
	return iceberg.NewSchema(s.ID, sources...), nil
}

// Write counts what the manifest's writer puts out.
func (o *manifestOutput) Write(p []byte) (int, error) {
	n, err := o.out.Write(p)
	o.bytes += int64(n)
	return n, err
}

func (o *manifestOutput) finish() error {
	entries, meta := o.entries, o.w.meta
	err := entries.Close() // it writes the rest
	out := o.out
	o.entries, o.out = nil, nil
	if err := storage.Complete(o.w.s.Files, o.path, out, err); err != nil {
		return fmt.Errorf("completing manifest %s: %w", o.path, err)
	}
	file, err := entries.ToManifestFile(o.path, o.bytes, iceberg.WithManifestFileContent(o.content))
	if err != nil {
		return fmt.Errorf("describing manifest %s: %w", o.path, err)
	}
	o.written = append(o.written, withEmptyBounds(meta.Version(), file))
	return nil
}

// withEmptyBounds makes bounds of the partitions' summary that are the empty
// text what they are: the library takes them for none, and readers then take
// the field for null in all files of the manifest, and pass them over.
func withEmptyBounds(version int, m iceberg.ManifestFile) iceberg.ManifestFile {
	sums := m.Partitions()
	for _, s := range sums {
		for _, bound := range []*[]byte{s.LowerBound, s.UpperBound} {
			if bound != nil && *bound == nil {
				*bound = []byte{}
			}
		}
	}
	return iceberg.NewManifestFile(version, m.FilePath(), m.Length(), m.PartitionSpecID(), m.SnapshotID()).
		Content(m.ManifestContent()).SequenceNum(m.SequenceNum(), m.MinSequenceNum()).Partitions(sums).
		AddedFiles(m.AddedDataFiles()).ExistingFiles(m.ExistingDataFiles()).DeletedFiles(m.DeletedDataFiles()).
		AddedRows(m.AddedRows()).ExistingRows(m.ExistingRows()).DeletedRows(m.DeletedRows()).Build()
}

func (o *manifestOutput) close() ([]iceberg.ManifestFile, error) {
	if o.entries != nil {
		if err := o.finish(); err != nil {
			return nil, err
		}
	}
	return o.written, nil
}

// abort gives up the open manifest, if there is one.
func (o *manifestOutput) abort() error {
	if o.out == nil {
		return nil
	}
	return storage.Abort(o.w.s.Files, o.path, o.out)
}
