// Package storage is where the files of a warehouse live.
//
// Whatever its kind, a storage keeps these promises: a file is there as a whole,
// and survives a power cut, once Close or WriteFile has returned; files can be
// read, written and removed after the context that opened the storage has ended,
// because the last commit of a run that is told to stop needs them; a file that
// is not there is [fs.ErrNotExist].
package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"

	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// Config is the kind of a storage, with what that kind needs.
type Config spec.Choice

// Default is the configuration for those that have none.
func Default() Config { return Config{Type: "local"} }

// A kind is the configuration of one kind of storage.
type kind interface {
	// validate finds what is wrong with the configuration and the warehouse
	// without looking for either. Its error is a config_error.
	validate(warehouse string) error
	open(ctx context.Context, warehouse, scratch string) (*Storage, error)
}

var kinds = spec.Forms[kind]{
	{Type: "local", Title: "Local files", New: func() kind { return &localConfig{} }},
	{Type: "s3", Title: "Amazon S3 or compatible", New: func() kind { return &s3Config{} }},
}

// JSONSchema is the oneOf of all kinds.
func (Config) JSONSchema() *jsonschema.Schema { return kinds.Schema() }

// UnmarshalJSON keeps the type that c has if there is none in raw.
func (c *Config) UnmarshalJSON(raw []byte) error {
	return kinds.Unmarshal(raw, (*spec.Choice)(c))
}

// Validate finds what is wrong with the configuration of a storage and its
// warehouse without looking for either. Its error is a config_error.
func (c Config) Validate(warehouse string) error {
	_, err := c.kind(warehouse)
	return err
}

func (c Config) kind(warehouse string) (kind, error) {
	k, err := kinds.Chosen("storage", spec.Choice(c))
	if err != nil {
		return nil, err
	}
	return k, k.validate(warehouse)
}

// Storage is the storage of one warehouse.
type Storage struct {
	warehouse string // as the tables' locations begin
	files     iceio.WriteFileIO
	directory string // of local files; "" for others

	properties iceberg.Properties // besides the warehouse
	aws        *aws.Config        // of S3
}

// Open reaches a warehouse. It makes nothing. scratch is the directory of this
// machine for what only this process needs, where the warehouse is elsewhere; "" is
// the machine's temporary directory.
func Open(ctx context.Context, cfg Config, warehouse, scratch string) (*Storage, error) {
	k, err := cfg.kind(warehouse)
	if err != nil {
		return nil, err
	}
	return k.open(ctx, warehouse, scratch)
}

// Warehouse is the location below which tables are made.
func (s *Storage) Warehouse() string { return s.warehouse }

// Directory is the path of the warehouse on this machine, or "" if it is not here.
func (s *Storage) Directory() string { return s.directory }

// Properties are what a catalog of the library has to be opened with. They lead the
// library to the same files, for it reaches those of a table by itself.
func (s *Storage) Properties() iceberg.Properties {
	p := iceberg.Properties{"warehouse": s.warehouse}
	maps.Copy(p, s.properties)
	return p
}

// AWS is how the warehouse is reached if it is on S3, or nil.
func (s *Storage) AWS() *aws.Config { return s.aws }

// Vended reports whether there are credentials for the files of single tables alone,
// which the catalog gives.
func (s *Storage) Vended() bool { return s.files == nil }

// Files are the files of the warehouse, nil if there are credentials for those of
// tables alone.
func (s *Storage) Files() iceio.WriteFileIO { return s.files }

// Make makes the warehouse if it is not there. It makes no bucket.
func (s *Storage) Make() error {
	if objects, ok := s.files.(*s3Files); ok {
		err := objects.reachable(s.warehouse)
		if e := Explain(err, "the warehouse "+s.warehouse); e != nil {
			return e
		}
		return err
	}
	return MakeDirectory(s.directory)
}

// RemoveTree removes a location and all that is below it.
func RemoveTree(files iceio.IO, location string) error {
	tree, ok := files.(iceio.RemoveAllIO)
	if !ok {
		return fmt.Errorf("removing %s: its storage cannot do that", location)
	}
	return tree.RemoveAll(location)
}

// ReplaceFile writes a small file that may be there already. Whoever reads it sees the
// old content or the new one.
func ReplaceFile(files iceio.IO, location string, content []byte) error {
	replacer, ok := files.(interface {
		ReplaceFile(location string, content []byte) error
	})
	if !ok {
		return fmt.Errorf("replacing %s: its storage cannot do that", location)
	}
	return replacer.ReplaceFile(location, content)
}

// An aborter is a file that is being written and that can be given up before it is there.
// Abort ends it in the place of Close: the file never appears, and nothing of it takes room.
// A file that is no aborter appears while it is written, and is closed and removed.
type aborter interface{ Abort() error }

// Abort gives up a file that was created at a location and is not closed. It is gone then.
func Abort(files iceio.IO, location string, out io.Closer) error {
	if a, ok := out.(aborter); ok {
		return a.Abort()
	}
	return errors.Join(out.Close(), files.Remove(location))
}

// Complete closes a file that was created at a location, or gives it up if writing it has
// failed. If it is the closing that fails, the file may be there, for the caller to remove.
func Complete(files iceio.IO, location string, out io.Closer, writeErr error) error {
	if writeErr != nil {
		return errors.Join(writeErr, Abort(files, location, out))
	}
	return out.Close()
}

// ErrNotCommitted says that the metadata file of a commit could not be written.
// It comes before the catalog is asked, so the table has not changed.
var ErrNotCommitted = errors.New("nothing was committed")

// RemoveAll removes files, all at once where the storage can, and returns those
// that it has removed. A file that is not there counts as removed.
func RemoveAll(ctx context.Context, files iceio.IO, locations []string) (removed []string, err error) {
	if bulk, ok := files.(iceio.BulkRemovableIO); ok {
		return bulk.DeleteFiles(ctx, locations)
	}
	return removeEach(ctx, files, locations)
}

func removeEach(ctx context.Context, files iceio.IO, locations []string) (removed []string, err error) {
	var errs []error
	for _, location := range locations {
		if err := ctx.Err(); err != nil {
			return removed, errors.Join(append(errs, err)...)
		}
		if err := files.Remove(location); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing %s: %w", location, err))
			continue
		}
		removed = append(removed, location)
	}
	return removed, errors.Join(errs...)
}
