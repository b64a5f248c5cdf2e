package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"sync"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// localConfig is for files of this machine, or of one that is mounted here.
type localConfig struct{}

func (*localConfig) validate(warehouse string) error {
	u, err := url.Parse(warehouse)
	if err == nil && u.Scheme == "s3" {
		return protocol.ConfigError.Errorf(nil, `The configuration's "warehouse" is %q, and its "storage.type" is "local", the default. Set it to "s3", or give "warehouse" a directory of this machine, as in %q.`, warehouse, exampleWarehouse())
	}
	if err != nil || u.Scheme != "file" || u.Host != "" || u.User != nil || u.RawQuery != "" || u.Fragment != "" || !isDirectory(filenames.Local(warehouse)) {
		return protocol.ConfigError.Errorf(err, `The configuration's "warehouse" is %q. It must be file:/// and the absolute path of a directory, as in %q.`, warehouse, exampleWarehouse())
	}
	// The library writes the locations of files as URLs, and other engines
	// take the path in them as it stands.
	if u.EscapedPath() != u.Path {
		return protocol.ConfigError.Errorf(nil, `The configuration's "warehouse" is %q. Not every engine would find files there. Use a path without spaces, %% and non-ASCII letters.`, warehouse)
	}
	return nil
}

// exampleWarehouse is what a warehouse can be on this system.
func exampleWarehouse() string {
	if runtime.GOOS == "windows" {
		return "file:///C:/lake"
	}
	return "file:///local/lake"
}

// isDirectory reports whether a path can be that of a directory other than a root.
func isDirectory(path string) bool {
	path = filepath.Clean(path)
	return filepath.IsAbs(path) && filepath.Dir(path) != path
}

func (*localConfig) open(ctx context.Context, warehouse, _ string) (*Storage, error) {
	registerLocal()
	files, err := iceio.LoadFS(context.WithoutCancel(ctx), nil, warehouse)
	if err != nil {
		return nil, fmt.Errorf("reaching the files of %s: %w", warehouse, err)
	}
	writable, ok := files.(iceio.WriteFileIO)
	if !ok {
		return nil, fmt.Errorf("reaching the files of %s: they cannot be written", warehouse)
	}
	return &Storage{warehouse: warehouse, files: writable, directory: filenames.Local(warehouse)}, nil
}

// MakeDirectory makes a directory that the configuration names.
func MakeDirectory(dir string) error {
	if err := makeDirs(dir); err != nil {
		return protocol.ConfigError.Errorf(err, "The directory %s cannot be created: %v. Make its parent writable for this program's user (%s), or configure another directory.", dir, err, osfile.User())
	}
	return nil
}

// registerLocal puts localFiles in the place of the library's own access to local
// files. Tables get theirs from the library, which offers no narrower way to reach
// the metadata file that it writes when it creates one.
var registerLocal = sync.OnceFunc(func() {
	for _, scheme := range []string{"file", ""} {
		iceio.Unregister(scheme)
		iceio.Register(scheme, func(context.Context, *url.URL, map[string]string) (iceio.IO, error) {
			return localFiles{}, nil
		})
	}
})

// localFiles is the library's local file system, except that a file is on
// disk, with its directory entry, when Close or WriteFile returns. The library
// leaves it in the page cache: after a power cut the catalog, whose own
// database does sync, would name files that are empty or gone. And names may be
// plain paths on Windows, too.
type localFiles struct{ iceio.LocalFS }

// Create opens a new file for writing, making its directories.
func (l localFiles) Create(name string) (iceio.FileWriter, error) {
	f, err := l.create(name, 0o644)
	if err != nil {
		return nil, err
	}
	return syncedFile{f}, nil
}

// CreateScratch opens a new file for writing that only this process needs, and
// only its user may read.
func (l localFiles) CreateScratch(name string) (iceio.FileWriter, error) {
	f, err := l.create(name, 0o600)
	if err != nil {
		return nil, err // not f: a nil file would be a writer
	}
	return f, nil
}

func (localFiles) create(name string, mode fs.FileMode) (*os.File, error) {
	path := filenames.Local(name)
	if err := makeDirs(filepath.Dir(path)); err != nil {
		return nil, err
	}
	return os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
}

// Open opens a file for reading.
func (localFiles) Open(name string) (iceio.File, error) {
	f, err := os.Open(filenames.Local(name))
	if err != nil {
		return nil, err // not f: a nil file would be a file
	}
	return f, nil
}

// ReadFile reads a whole file.
func (localFiles) ReadFile(name string) ([]byte, error) { return os.ReadFile(filenames.Local(name)) }

// Remove removes a file or an empty directory.
func (localFiles) Remove(name string) error { return os.Remove(filenames.Local(name)) }

// RemoveAll removes a location and all that is below it.
func (localFiles) RemoveAll(name string) error { return osfile.RemoveAll(filenames.Local(name)) }

// WalkDir walks a directory. The paths that it finds are plain.
func (localFiles) WalkDir(root string, fn fs.WalkDirFunc) error {
	return filepath.WalkDir(filenames.Local(root), func(path string, d fs.DirEntry, err error) error {
		return fn(filenames.Plain(path), d, err)
	})
}

// DeleteFiles removes files.
func (l localFiles) DeleteFiles(ctx context.Context, locations []string) (removed []string, err error) {
	return removeEach(ctx, l, locations)
}

// WriteFile writes a new file.
func (l localFiles) WriteFile(name string, content []byte) error {
	f, err := l.Create(name)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	return errors.Join(err, f.Close())
}

// ReplaceFile writes a file beside the one of the name, which then takes its place.
func (l localFiles) ReplaceFile(name string, content []byte) error {
	path := filenames.Local(name)
	next := filepath.Join(filepath.Dir(path), filenames.New(filepath.Ext(path)))
	f, err := l.create(next, 0o644)
	if err != nil {
		return err
	}
	_, err = f.Write(content)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = osfile.Rename(next, path)
	}
	if err != nil {
		return errors.Join(err, os.Remove(next))
	}
	return nil
}

type syncedFile struct{ *os.File }

func (f syncedFile) Close() error {
	if err := errors.Join(f.Sync(), f.File.Close()); err != nil {
		return err
	}
	return osfile.SyncDir(filepath.Dir(f.Name()))
}

// makeDirs is os.MkdirAll with every new entry on disk.
func makeDirs(dir string) error {
	if info, err := os.Stat(dir); err == nil {
		if !info.IsDir() {
			return &fs.PathError{Op: "mkdir", Path: dir, Err: errors.New("not a directory")}
		}
		return nil
	}
	parent := filepath.Dir(dir)
	if err := makeDirs(parent); err != nil {
		return err
	}
	if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
		return err
	}
	return osfile.SyncDir(parent)
}
