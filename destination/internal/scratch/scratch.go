// Package scratch is the files that only this process needs: rows and keys for
// which there is no memory. They lie among the data files, and what a killed
// process leaves of them is removed with the orphans.
package scratch

import (
	"context"
	"fmt"
	"io"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// The names of scratch files end like this.
const (
	RowsSuffix = ".arrows"
	KeysSuffix = ".keys"
)

// Files creates, opens and removes scratch files.
type Files struct {
	Storage iceio.WriteFileIO
	// NewPath returns a path that no other file has.
	NewPath func(suffix string) string
}

// volatile is storage that can save itself the trouble of making a file last
// longer than the process.
type volatile interface {
	CreateScratch(name string) (iceio.FileWriter, error)
}

// Create starts a file.
func (f Files) Create(suffix string) (path string, out io.WriteCloser, err error) {
	path = f.NewPath(suffix)
	create := f.Storage.Create
	if v, ok := f.Storage.(volatile); ok {
		create = v.CreateScratch
	}
	if out, err = create(path); err != nil {
		return "", nil, fmt.Errorf("creating a scratch file: %w", err)
	}
	return path, out, nil
}

// Open opens a file for reading.
func (f Files) Open(path string) (iceio.File, error) { return f.Storage.Open(path) }

// Remove removes files, of which some may be gone already.
func (f Files) Remove(paths []string) error {
	return storage.RemoveAll(context.Background(), f.Storage, paths)
}
