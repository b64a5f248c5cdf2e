// Package relocation updates the paths in a table's metadata after a lake was
// copied or moved. Iceberg metadata contains absolute paths everywhere, down to
// the rows of position delete files.
//
// No existing file is changed or removed. Every file that contains paths is
// written again under a new name, and the relocation takes effect when the
// catalog points to the new metadata file. A relocation that is interrupted
// leaves only files that nothing refers to.
package relocation

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// FromKey is the table property that lists, as a JSON array, the directories
// that a table was relocated from. Metadata files that were copied from there
// refer to no file in the table's current directory.
const FromKey = "airbyte.relocated-from"

// A Move says that files were copied or moved from one directory to another, on
// this machine or in an object store.
type Move struct{ from, to string }

// NewMove is a move between two directories, however they are written.
func NewMove(from, to string) Move { return Move{root(from), root(to)} }

// root is a directory without a slash at its end.
func root(directory string) string { return strings.TrimSuffix(filenames.Plain(directory), "/") }

func (m Move) String() string { return "from " + m.from + " to " + m.to }

// below returns what a location has after the old directory. The key of an object
// is taken as it is: it may contain what would be an escape in a path.
func (m Move) below(location string) (rest string, ok bool) {
	plain := filenames.Plain(location)
	if _, key, isURL := strings.Cut(location, "://"); isURL && strings.HasPrefix(plain, "s3://") {
		plain = "s3://" + key
	}
	rest, ok = strings.CutPrefix(plain, m.from)
	return rest, ok && (rest == "" || rest[0] == '/')
}

// Concerns reports whether a location is in the old directory.
func (m Move) Concerns(location string) bool {
	_, ok := m.below(location)
	return ok
}

// Location returns the current location of a file, given the one before the
// move. A file outside of the old directory has not moved.
func (m Move) Location(before string) string {
	rest, ok := m.below(before)
	if !ok {
		return before
	}
	if strings.Contains(m.to, "://") {
		return m.to + rest
	}
	return "file://" + path.Join("/", m.to, rest)
}

// Load reads a table's metadata from the new directory. It still contains the
// old paths.
func (m Move) Load(ctx context.Context, files iceio.IO, id table.Identifier, metadata string) (*table.Table, error) {
	return table.NewFromLocation(ctx, id, m.Location(metadata), through(files), nil)
}

func through(files iceio.IO) table.FSysF {
	return func(context.Context) (iceio.IO, error) { return files, nil }
}

// Table writes metadata that refers to a table's files in the new directory, and
// returns the table as it is then, for the catalog to point to. It fails if a file
// that a snapshot needs is missing.
func (m Move) Table(ctx context.Context, files iceio.WriteFileIO, loaded *table.Table) (*table.Table, error) {
	text, err := json.Marshal(loaded.Metadata())
	if err != nil {
		return nil, err
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	var doc map[string]any
	if err := in.Decode(&doc); err != nil {
		return nil, err
	}
	if err := m.updateMetadata(doc); err != nil {
		return nil, err
	}
	// The location of the files that are written below depends on the new one.
	updated, err := parse(doc)
	if err != nil {
		return nil, err
	}
	locations, err := table.LoadLocationProvider(updated.Location(), updated.Properties())
	if err != nil {
		return nil, err
	}
	w := &writer{move: m, files: files, locations: locations, written: map[string]rewritten{}, exists: map[string]bool{}}
	for _, s := range objects(doc["snapshots"]) {
		list, ok := s["manifest-list"].(string)
		if !ok {
			return nil, fmt.Errorf("snapshot %v has no manifest list", s["snapshot-id"])
		}
		made, err := w.rewriteManifestList(ctx, list, textOf(s["snapshot-id"]))
		if err != nil {
			return nil, err
		}
		s["manifest-list"] = made.location
		if err := made.change.applyTo(s["summary"]); err != nil {
			return nil, fmt.Errorf("snapshot %v: %w", s["snapshot-id"], err)
		}
	}
	for _, key := range []string{"statistics", "partition-statistics"} {
		for _, s := range objects(doc[key]) {
			if err := w.checkExists(textOf(s["statistics-path"])); err != nil {
				return nil, err
			}
			s["statistics-path"] = m.Location(textOf(s["statistics-path"]))
		}
	}
	meta, err := parse(doc)
	if err != nil {
		return nil, err
	}
	number, _, _ := strings.Cut(path.Base(loaded.MetadataLocation()), "-")
	version, _ := strconv.Atoi(strings.TrimPrefix(number, "v")) // 0 if another program named the file
	location := locations.NewMetadataLocation(fmt.Sprintf("%05d-%s.metadata.json", version+1, uuid.New()))
	if text, err = json.Marshal(meta); err != nil {
		return nil, err
	}
	if err := files.WriteFile(location, text); err != nil {
		return nil, fmt.Errorf("writing %s: %w", location, err)
	}
	return table.New(loaded.Identifier(), meta, location, through(files), nil), nil
}

// updateMetadata changes the paths in the table metadata itself.
func (m Move) updateMetadata(doc map[string]any) error {
	before := textOf(doc["location"])
	if !m.Concerns(before) {
		return fmt.Errorf("the table is at %s, outside %s", before, m.from)
	}
	doc["location"] = m.Location(before)
	props, _ := doc["properties"].(map[string]any)
	if props == nil {
		props = map[string]any{}
		doc["properties"] = props
	}
	for key, value := range props {
		props[key] = m.Location(textOf(value))
		if key == checkpoint.Key || strings.HasPrefix(key, checkpoint.Key+".") {
			props[key] = checkpoint.Relocate(textOf(value), m.Location)
		}
	}
	for _, s := range objects(doc["snapshots"]) {
		if summary, ok := s["summary"].(map[string]any); ok && summary[checkpoint.Key] != nil {
			summary[checkpoint.Key] = checkpoint.Relocate(textOf(summary[checkpoint.Key]), m.Location)
		}
	}
	earlier, err := Earlier(textOf(props[FromKey]))
	if err != nil {
		return err
	}
	if !slices.Contains(earlier, m.from) {
		earlier = append(earlier, m.from)
	}
	list, err := json.Marshal(earlier)
	if err != nil {
		return err
	}
	props[FromKey] = string(list)
	doc["metadata-log"] = []any{} // its files contain the old paths
	return nil
}

// Earlier reads the value of [FromKey].
func Earlier(value string) (dirs []string, err error) {
	if value == "" {
		return nil, nil
	}
	if err := json.Unmarshal([]byte(value), &dirs); err != nil {
		return nil, fmt.Errorf("reading the property %s: %w", FromKey, err)
	}
	return dirs, nil
}

func parse(doc map[string]any) (table.Metadata, error) {
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return table.ParseMetadataBytes(text)
}

func objects(list any) []map[string]any {
	var all []map[string]any
	items, _ := list.([]any)
	for _, item := range items {
		if o, ok := item.(map[string]any); ok {
			all = append(all, o)
		}
	}
	return all
}

func textOf(value any) string {
	switch v := value.(type) {
	case string:
		return v
	case json.Number:
		return v.String()
	}
	return ""
}

// rewritten is the new version of a file that contains paths.
type rewritten struct {
	location string
	bytes    int64
	change   sizeChange // of the files that it refers to
}

// sizeChange is how many bytes the delete files of a manifest or a snapshot have
// gained, since the new paths have another length.
type sizeChange struct{ live, added, removed int64 }

// applyTo corrects the sizes in a snapshot's summary.
func (c sizeChange) applyTo(summary any) error {
	of, _ := summary.(map[string]any)
	for key, by := range map[string]int64{"total-files-size": c.live, "added-files-size": c.added, "removed-files-size": c.removed} {
		text, ok := of[key].(string)
		if !ok {
			continue
		}
		bytes, err := strconv.ParseInt(text, 10, 64)
		if err != nil {
			return fmt.Errorf("reading %s: %w", key, err)
		}
		of[key] = strconv.FormatInt(bytes+by, 10)
	}
	return nil
}

// writer writes new versions of one table's files that contain paths.
type writer struct {
	move      Move
	files     iceio.WriteFileIO
	locations table.LocationProvider
	written   map[string]rewritten // by the old location
	exists    map[string]bool
}

// rewriteOnce writes the new version of a file unless it has been written.
func (w *writer) rewriteOnce(ctx context.Context, before string, write func(*sizeChange) (string, error)) (rewritten, error) {
	if made, ok := w.written[before]; ok {
		return made, nil
	}
	if err := ctx.Err(); err != nil {
		return rewritten{}, err
	}
	var made rewritten
	var err error
	if made.location, err = write(&made.change); err != nil {
		return rewritten{}, fmt.Errorf("relocating %s: %w", before, err)
	}
	if made.bytes, err = w.size(made.location); err != nil {
		return rewritten{}, err
	}
	w.written[before] = made
	return made, nil
}

func (w *writer) size(location string) (int64, error) {
	f, err := w.files.Open(location)
	if err != nil {
		return 0, err
	}
	size, err := f.Seek(0, io.SeekEnd)
	return size, errors.Join(err, f.Close())
}

// checkExists returns an error if a file was not copied with the others.
func (w *writer) checkExists(before string) error {
	location := w.move.Location(before)
	if w.exists[location] {
		return nil
	}
	_, err := w.size(location)
	w.exists[location] = err == nil
	return err
}

// create writes a new file.
func (w *writer) create(location string, write func(io.Writer) error) (string, error) {
	out, err := w.files.Create(location)
	if err != nil {
		return "", err
	}
	if err := write(out); err != nil {
		return "", errors.Join(err, storage.Abort(w.files, location, out))
	}
	if err := out.Close(); err != nil {
		return "", errors.Join(err, w.files.Remove(location))
	}
	return location, nil
}
