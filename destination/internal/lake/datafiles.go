package lake

import (
	"context"
	"sync"

	"github.com/apache/arrow-go/v18/arrow"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// dataFiles is where the data files of a table are, and how new ones are written.
type dataFiles struct {
	files     iceio.WriteFileIO
	locations table.LocationProvider

	mu       sync.Mutex
	encoding *parquetfile.Encoding // of every new file
}

// newPath is a path for a new file among the data files.
func (d *dataFiles) newPath(suffix string) string {
	return d.locations.NewDataLocation(filenames.New(suffix))
}

// scratch is where rows and keys are spilled.
func (d *dataFiles) scratch() storage.Scratch {
	return storage.Scratch{Files: d.files, NewPath: d.newPath}
}

// rollingWriter returns a writer of files of the target size.
func (d *dataFiles) rollingWriter(targetBytes int64, complete func(*parquetfile.Writer) error) *parquetfile.RollingWriter {
	newPath := func() string { return d.newPath(".parquet") }
	return parquetfile.NewRollingWriter(d.files, newPath, targetBytes, complete)
}

// encodingFor is the encoding of all new files. The first rows that are written
// decide it.
func (d *dataFiles) encodingFor(rec arrow.RecordBatch) *parquetfile.Encoding {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.encoding == nil {
		d.encoding = parquetfile.NewEncoding(rec)
	}
	return d.encoding
}

// discard removes files that no commit has named.
func (d *dataFiles) discard(files []*stagedFile) error {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.data.FilePath()
	}
	return d.removeAll(paths)
}

func (d *dataFiles) removeAll(paths []string) error {
	_, err := storage.RemoveAll(context.Background(), d.files, paths)
	return err
}
