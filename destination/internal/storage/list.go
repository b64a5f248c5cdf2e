package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"time"

	iceio "github.com/apache/iceberg-go/io"
)

// A File is a file that was listed.
type File struct {
	Path     string
	Modified time.Time
}

// List lists the files under a location, and none if it does not exist.
func List(ctx context.Context, files iceio.ListableIO, location string) ([]File, error) {
	var found []File
	err := files.WalkDir(location, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // removed after its directory was read
			return nil
		case err != nil:
			return err
		case d.IsDir():
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err != nil {
			return err
		}
		found = append(found, File{path, info.ModTime()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", location, err)
	}
	return found, nil
}

// ReadFile reads a whole file.
func ReadFile(files iceio.IO, location string) (text []byte, err error) {
	if r, ok := files.(iceio.ReadFileIO); ok {
		return r.ReadFile(location)
	}
	f, err := files.Open(location)
	if err != nil {
		return nil, err
	}
	text, err = io.ReadAll(f)
	return text, errors.Join(err, f.Close())
}
