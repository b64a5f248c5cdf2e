package snapshots

import (
	"errors"
	"io/fs"
	"strings"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// versionHint is the name of the file in a table's metadata directory that names the
// current metadata file. Readers without a catalog, as DuckDB, open a table by its
// directory with it. The format is that of Iceberg's catalogs of files, which have
// numbers where this one has names: no extension and no line end.
const versionHint = "version-hint.text"

// WriteVersionHint has the version hint of the table at a location name a metadata
// file. It does nothing if the metadata file is not where such readers look for it.
func WriteVersionHint(files iceio.IO, table, metadata string) error {
	hint, name, ok := hintOf(table, metadata)
	if !ok {
		return nil
	}
	return storage.ReplaceFile(files, hint, []byte(name))
}

// HintVersion has the table's version hint name a metadata file that the table has in
// the catalog, and reports whether it does. A failure is only told: what is committed is
// committed.
func (s *Storage) HintVersion(metadata string) bool {
	if !s.HasVersionHint || s.hinted.Load() == metadata {
		return true
	}
	if err := WriteVersionHint(s.Files, s.Location, metadata); err != nil {
		s.failure.Do(func() { s.HintFailed(err) })
		return false
	}
	s.hinted.Store(metadata)
	return true
}

// EnsureVersionHint makes sure that the table's version hint names no other metadata file
// than this one, so that others can be removed: it is written, or else removed.
func (s *Storage) EnsureVersionHint(metadata string) error {
	hint, name, ok := hintOf(s.Location, metadata)
	if !ok {
		return nil
	}
	var err error
	if s.HasVersionHint {
		if err = storage.ReplaceFile(s.Files, hint, []byte(name)); err == nil {
			return nil
		}
	}
	if removeErr := s.Files.Remove(hint); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		return errors.Join(err, removeErr)
	}
	return nil
}

// IsVersionHint reports whether a plain path is that of the version hint of the table at a
// location.
func IsVersionHint(path, table string) bool {
	return path == strings.TrimSuffix(filenames.Plain(table), "/")+"/metadata/"+versionHint
}

// hintOf returns the location of a version hint and what it holds to name a metadata
// file.
func hintOf(table, metadata string) (location, content string, ok bool) {
	slash := strings.LastIndex(metadata, "/")
	content, ok = strings.CutSuffix(metadata[slash+1:], ".metadata.json")
	if slash < 0 || !ok || filenames.Plain(metadata[:slash]) != strings.TrimSuffix(filenames.Plain(table), "/")+"/metadata" {
		return "", "", false
	}
	return metadata[:slash+1] + versionHint, content, true
}
