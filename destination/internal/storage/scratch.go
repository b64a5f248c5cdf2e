package storage

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/google/uuid"
)

// The names of scratch files end like this.
const (
	RowsSuffix = ".arrows"
	KeysSuffix = ".keys"
)

// Scratch is room for files that only this process needs: rows and keys for
// which there is no memory. On local storage they lie among the data files, which
// are where there is room, and what a killed process leaves of them is removed
// with the orphans. Otherwise they lie in the machine's temporary directory.
type Scratch struct {
	files iceio.WriteFileIO
	// newPath returns a path that no other file has.
	newPath func(suffix string) string
}

// NewScratch is the scratch of a table whose files are these; newDataPath returns a
// path for a new file among them.
func NewScratch(files iceio.WriteFileIO, newDataPath func(suffix string) string) Scratch {
	if _, remote := files.(*s3Files); remote {
		return Scratch{localFiles{}, func(suffix string) string {
			return filepath.Join(os.TempDir(), "destination-iceberg-"+uuid.NewString()+suffix)
		}}
	}
	return Scratch{files, newDataPath}
}

// volatile is storage that can save itself the trouble of making a file last
// longer than the process.
type volatile interface {
	CreateScratch(name string) (iceio.FileWriter, error)
}

// Create starts a file.
func (s Scratch) Create(suffix string) (path string, out io.WriteCloser, err error) {
	path = s.newPath(suffix)
	create := s.files.Create
	if v, ok := s.files.(volatile); ok {
		create = v.CreateScratch
	}
	if out, err = create(path); err != nil {
		return "", nil, fmt.Errorf("creating a scratch file: %w", err)
	}
	return path, out, nil
}

// Open opens a file for reading.
func (s Scratch) Open(path string) (iceio.File, error) { return s.files.Open(path) }

// Remove removes files, of which some may be gone already.
func (s Scratch) Remove(paths []string) error {
	_, err := RemoveAll(context.Background(), s.files, paths)
	return err
}
