package snapshots

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// Storage is where the files of a table are, and how new ones are written.
type Storage struct {
	Table           string // its name, for errors
	Files           iceio.WriteFileIO
	Locations       table.LocationProvider
	Memory          *budget.Memory
	TargetFileBytes int64              // size at which a data file is closed
	Properties      iceberg.Properties // of the table, as it was opened
	Location        string             // of the table
	// HasVersionHint: the table has a version hint. It has none where the catalog's server
	// removes metadata files, which it does without changing the hint.
	HasVersionHint bool
	HintFailed     func(error) // is told once that the version hint could not be written

	hinted  atomic.Value // the metadata file, a string, that the version hint was last made to name
	failure sync.Once    // to write it

	mu       sync.Mutex
	encoding *parquetfile.Encoding // of every new file
}

// NewPath is a path for a new file among the data files.
func (s *Storage) NewPath(suffix string) string {
	return s.Locations.NewDataLocation(filenames.New(suffix))
}

// Scratch is where rows and keys are spilled.
func (s *Storage) Scratch() storage.Scratch {
	return storage.NewScratch(s.Files, s.NewPath)
}

// RollingWriter returns a writer of data files of the given size.
func (s *Storage) RollingWriter(targetBytes int64, complete func(*parquetfile.Writer) error) *parquetfile.RollingWriter {
	newPath := func() string { return s.NewPath(".parquet") }
	return parquetfile.NewRollingWriter(s.Files, newPath, targetBytes, complete)
}

// EncodingFor is the encoding of all new files. The first rows that are written
// decide it.
func (s *Storage) EncodingFor(rec arrow.RecordBatch) *parquetfile.Encoding {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.encoding == nil {
		s.encoding = parquetfile.NewEncoding(rec, s.Properties)
	}
	return s.encoding
}

// RemoveAll removes files that no commit has named, also in a run that is told to
// stop.
func (s *Storage) RemoveAll(paths []string) error {
	_, err := storage.RemoveAll(context.Background(), s.Files, paths)
	return err
}
