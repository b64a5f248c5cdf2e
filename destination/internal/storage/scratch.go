package storage

import (
	"context"
	"fmt"
	"io"
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
// with the orphans. Otherwise they lie in the directory that the storage was
// opened with.
type Scratch struct {
	files iceio.WriteFileIO
	// newPath returns a path that no other file has.
	newPath func(suffix string) string
	dir     string // that is not the warehouse's; "": none
}

// NewScratch is the scratch of a table whose files are these; newDataPath returns a
// path for a new file among them.
func NewScratch(files iceio.WriteFileIO, newDataPath func(suffix string) string) Scratch {
	if remote, ok := files.(*s3Files); ok {
		return Scratch{localFiles{}, func(suffix string) string {
			return filepath.Join(remote.scratch, "destination-iceberg-"+uuid.NewString()+suffix)
		}, remote.scratch}
	}
	return Scratch{files, newDataPath, ""}
}

// A scratchError is what is wrong with the directory for scratch files.
type scratchError struct {
	dir   string
	cause error
}

func (e *scratchError) Error() string {
	return fmt.Sprintf("using the scratch directory %s: %v", e.dir, e.cause)
}
func (e *scratchError) Unwrap() error { return e.cause }

// scratchFile names the directory when it cannot be written.
type scratchFile struct {
	io.WriteCloser
	dir string
}

func (f scratchFile) Write(p []byte) (int, error) {
	n, err := f.WriteCloser.Write(p)
	if err != nil {
		err = &scratchError{f.dir, err}
	}
	return n, err
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
	out, err = create(path)
	switch {
	case err != nil && s.dir != "":
		return "", nil, &scratchError{s.dir, err}
	case err != nil:
		return "", nil, fmt.Errorf("creating a scratch file: %w", err)
	case s.dir != "":
		out = scratchFile{out, s.dir}
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
