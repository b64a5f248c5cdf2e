package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// longState is how long a state, in bytes and with the names of its streams, must be to
// have a file of its own. A table's metadata holds the states of up to a hundred snapshots,
// and is written by every commit and read by every query.
const longState = 1 << 10

// Files keeps long states below a warehouse, each in a file that is written once
// and named by all tables that the state covers.
type Files struct {
	files     iceio.WriteFileIO // nil: none are kept
	warehouse string
}

// NewFiles keeps files below a warehouse. If only the files of tables can be reached,
// it keeps none: all states are in the tables' metadata.
func NewFiles(s *storage.Storage) *Files { return &Files{s.Files(), s.Warehouse()} }

// Dir is where the files are. No table can be there: the directories of
// namespaces end with ".db".
func (f *Files) Dir() string { return strings.TrimSuffix(f.warehouse, "/") + "/_airbyte/states" }

// content is what is in a file. The places tell whoever wants to remove it where
// to look for what names it; those below the warehouse are relative to it, so
// that they stay right when the lake is moved.
type content struct {
	Metadata []string        `json:"metadata"` // directories of the metadata of the tables that the state covers
	State    json.RawMessage `json:"state"`
	Streams  Streams         `json:"streams,omitzero"`
}

// Keep puts the state of a checkpoint, with the names of its streams, into a file if that
// is long. metadata are the directories that the metadata of its tables is in. The file is
// durable when Keep returns.
func (f *Files) Keep(c Checkpoint, metadata []string) (Checkpoint, error) {
	size := len(c.State)
	if c.Streams != nil {
		names, err := encode(c.Streams)
		if err != nil {
			return c, err
		}
		size += len(names)
	}
	if size <= longState || f.files == nil {
		return c, nil
	}
	of := content{State: c.State, Streams: c.Streams}
	root := filenames.Plain(f.warehouse)
	for _, dir := range metadata {
		dir = filenames.Plain(dir)
		if dir != root && filenames.Within(dir, root) {
			dir = strings.TrimPrefix(strings.TrimPrefix(dir, root), "/")
		}
		of.Metadata = append(of.Metadata, dir)
	}
	text, err := encode(of)
	if err != nil {
		return c, err
	}
	c.State, c.Streams, c.File = nil, nil, f.Dir()+"/"+filenames.New(".json")
	if err := f.files.WriteFile(c.File, text); err != nil {
		err = fmt.Errorf("writing a state to %s: %w", c.File, err)
		if removeErr := f.files.Remove(c.File); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
			err = errors.Join(err, removeErr)
		}
		return c, err
	}
	return c, nil
}

// CoversAll reports whether an encoded checkpoint has a state that covers all streams of its
// source. What is no checkpoint does not, nor does one whose file is gone.
func CoversAll(files iceio.IO, raw json.RawMessage) (bool, error) {
	c, err := Parse(raw)
	if err != nil {
		return false, nil //nolint:nilerr // as said above
	}
	if c, err = c.Load(files); errors.Is(err, fs.ErrNotExist) {
		return false, nil
	} else if err != nil {
		return false, err
	}
	state, err := protocol.ParseState(c.State)
	return err == nil && state.Type != protocol.StreamState, nil
}

func read(files iceio.IO, location string) (content, error) {
	var of content
	in, err := files.Open(location)
	if err != nil {
		return of, fmt.Errorf("reading the state file %s: %w", location, err)
	}
	text, err := io.ReadAll(in)
	if err = errors.Join(err, in.Close()); err == nil {
		err = json.Unmarshal(text, &of)
	}
	if err == nil && (of.State == nil || string(of.State) == "null") {
		err = errors.New("it holds no state")
	}
	if err != nil {
		return of, fmt.Errorf("reading the state file %s: %w", location, err)
	}
	return of, nil
}

// References find what names state files; both return the names without the
// directory.
type References struct {
	Catalog   func(context.Context) (map[string]bool, error)                                         // the tables of the catalog, as they are now
	Directory func(ctx context.Context, files iceio.ListableIO, dir string) (map[string]bool, error) // any metadata file in a directory, whoever wrote it
}

// Remove removes, or with dryRun only lists, the files that no table names any
// more, and says which were left for a doubt. A file goes when it is a day old
// and is named neither by a table of the catalog nor in the metadata directories
// of the tables that it was written for.
func (f *Files) Remove(ctx context.Context, references References, dryRun bool) (removed, left []string, err error) {
	if f.files == nil {
		return nil, nil, nil
	}
	lister, ok := f.files.(iceio.ListableIO)
	if !ok {
		return nil, []string{"state files are not removed, because the storage cannot be listed"}, nil
	}
	old, err := f.old(ctx, lister)
	if err != nil || len(old) == 0 {
		return nil, nil, err
	}
	// What was committed while the files were listed is named by now.
	referenced, err := references.Catalog(ctx)
	if err != nil {
		return nil, nil, err
	}
	around := map[string]map[string]bool{}
	inDirectories := func(dirs []string, name string) (bool, error) {
		for _, dir := range dirs {
			if !strings.HasPrefix(dir, "/") && !strings.Contains(dir, "://") {
				dir = strings.TrimSuffix(f.warehouse, "/") + "/" + dir
			}
			if around[dir] == nil {
				if around[dir], err = references.Directory(ctx, lister, dir); err != nil {
					return false, err
				}
			}
			if around[dir][name] {
				return true, nil
			}
		}
		return false, nil
	}
	for _, file := range old {
		if err := ctx.Err(); err != nil {
			return removed, left, err
		}
		if referenced[path.Base(file)] {
			continue
		}
		of, err := read(f.files, file)
		truncated := errors.As(err, new(*json.SyntaxError)) // by the end of its writer, so that no table can name it
		if err != nil && !truncated {
			left = append(left, fmt.Sprintf("%v; remove it by hand if no table needs it", err))
			continue
		}
		switch needed, err := inDirectories(of.Metadata, path.Base(file)); {
		case ctx.Err() != nil:
			return removed, left, ctx.Err()
		case err != nil:
			left = append(left, fmt.Sprintf("%s is not removed, because it is unknown which tables name it: %v", file, err))
			continue
		case needed:
			continue
		}
		if !dryRun {
			if err := f.files.Remove(file); err != nil && !errors.Is(err, fs.ErrNotExist) {
				return removed, left, fmt.Errorf("removing %s: %w", file, err)
			}
		}
		removed = append(removed, file)
	}
	return removed, left, nil
}

// old lists this program's files that may go by their age.
func (f *Files) old(ctx context.Context, lister iceio.ListableIO) (old []string, err error) {
	err = lister.WalkDir(f.Dir(), func(file string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // nothing was ever kept, or it is gone since
			return nil
		case err != nil:
			return err
		case d.IsDir() || !filenames.HasMark(file):
			return nil
		}
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if err == nil && time.Since(info.ModTime()) >= filenames.OrphanAge {
			old = append(old, file)
		}
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", f.Dir(), err)
	}
	return old, nil
}
