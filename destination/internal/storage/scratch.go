package storage

import (
	"context"
	"fmt"
	"io"

	iceio "github.com/apache/iceberg-go/io"
)

// The names of scratch files end like this.
const (
	RowsSuffix = ".arrows"
	KeysSuffix = ".keys"
)

// Scratch is room for files that only this process needs: rows and keys for
// which there is no memory. They lie among the data files, and what a killed
// process leaves of them is removed with the orphans.
type Scratch struct {
	Files iceio.WriteFileIO
	// NewPath returns a path that no other file has.
	NewPath func(suffix string) string
}

// volatile is storage that can save itself the trouble of making a file last
// longer than the process.
type volatile interface {
	CreateScratch(name string) (iceio.FileWriter, error)
}

// Create starts a file.
func (s Scratch) Create(suffix string) (path string, out io.WriteCloser, err error) {
	path = s.NewPath(suffix)
	create := s.Files.Create
	if v, ok := s.Files.(volatile); ok {
		create = v.CreateScratch
	}
	if out, err = create(path); err != nil {
		return "", nil, fmt.Errorf("creating a scratch file: %w", err)
	}
	return path, out, nil
}

// Open opens a file for reading.
func (s Scratch) Open(path string) (iceio.File, error) { return s.Files.Open(path) }

// Remove removes files, of which some may be gone already.
func (s Scratch) Remove(paths []string) error {
	_, err := RemoveAll(context.Background(), s.Files, paths)
	return err
}
