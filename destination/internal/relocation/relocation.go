// Package relocation makes tables name their files where they are after a lake
// was copied or moved. The metadata of a table names all files by absolute
// paths, down to the rows of position delete files.
//
// Nothing that is there is changed or removed: all that holds paths is written
// anew, and the table is at its new place when its catalog names the new
// metadata file. What a relocation leaves that is cut off before are files that
// nothing names.
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
)

// FromKey is the table property that lists, as a JSON array, the directories
// that a table was relocated from. Metadata files that were copied from there
// name no file at the table's present place.
const FromKey = "airbyte.relocated-from"

// A Move is of files that were copied, or moved, from one directory to another.
// Both are plain paths.
type Move struct{ From, To string }

// Location is where a file is now that was somewhere before. Files outside of
// the old directory are where they were.
func (m Move) Location(before string) string {
	plain := filenames.Plain(before)
	if !filenames.Within(plain, m.From) {
		return before
	}
	return "file://" + path.Join(m.To, strings.TrimPrefix(plain, m.From))
}

// Load reads a table's metadata at the new place. It still names the old one.
func (m Move) Load(ctx context.Context, files iceio.IO, id table.Identifier, metadata string) (*table.Table, error) {
	access := func(context.Context) (iceio.IO, error) { return files, nil }
	return table.NewFromLocation(ctx, id, m.Location(metadata), access, nil)
}

// Table writes what names the files of a table at the new place, and returns
// the location of its new metadata file, for the catalog to name. It fails if a
// file is missing that a snapshot needs.
func (m Move) Table(ctx context.Context, files iceio.WriteFileIO, loaded *table.Table) (string, error) {
	text, err := json.Marshal(loaded.Metadata())
	if err != nil {
		return "", err
	}
	in := json.NewDecoder(bytes.NewReader(text))
	in.UseNumber()
	var doc map[string]any
	if err := in.Decode(&doc); err != nil {
		return "", err
	}
	if err := m.place(doc); err != nil {
		return "", err
	}
	// What is written below has its place by the new location.
	placed, err := parse(doc)
	if err != nil {
		return "", err
	}
	locations, err := table.LoadLocationProvider(placed.Location(), placed.Properties())
	if err != nil {
		return "", err
	}
	w := &writer{move: m, files: files, locations: locations, written: map[string]copied{}, there: map[string]bool{}}
	for _, s := range objects(doc["snapshots"]) {
		list, ok := s["manifest-list"].(string)
		if !ok {
			return "", fmt.Errorf("snapshot %v has no manifest list", s["snapshot-id"])
		}
		made, err := w.manifestList(ctx, list, textOf(s["snapshot-id"]))
		if err != nil {
			return "", err
		}
		s["manifest-list"] = made.location
		if err := made.grown.inSummary(s["summary"]); err != nil {
			return "", fmt.Errorf("snapshot %v: %w", s["snapshot-id"], err)
		}
	}
	for _, key := range []string{"statistics", "partition-statistics"} {
		for _, s := range objects(doc[key]) {
			if err := w.mustBeThere(textOf(s["statistics-path"])); err != nil {
				return "", err
			}
			s["statistics-path"] = m.Location(textOf(s["statistics-path"]))
		}
	}
	meta, err := parse(doc)
	if err != nil {
		return "", err
	}
	number, _, _ := strings.Cut(path.Base(loaded.MetadataLocation()), "-")
	version, _ := strconv.Atoi(strings.TrimPrefix(number, "v")) // 0 if another program named the file
	location := locations.NewMetadataLocation(fmt.Sprintf("%05d-%s.metadata.json", version+1, uuid.New()))
	if text, err = json.Marshal(meta); err != nil {
		return "", err
	}
	if err := files.WriteFile(location, text); err != nil {
		return "", fmt.Errorf("writing %s: %w", location, err)
	}
	return location, nil
}

// place changes what the metadata itself says of where a table is.
func (m Move) place(doc map[string]any) error {
	before := textOf(doc["location"])
	if !filenames.Within(filenames.Plain(before), m.From) {
		return fmt.Errorf("the table is at %s, outside %s", before, m.From)
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
			props[key] = checkpoint.Relocated(textOf(value), m.Location)
		}
	}
	for _, s := range objects(doc["snapshots"]) {
		if summary, ok := s["summary"].(map[string]any); ok && summary[checkpoint.Key] != nil {
			summary[checkpoint.Key] = checkpoint.Relocated(textOf(summary[checkpoint.Key]), m.Location)
		}
	}
	earlier, err := Earlier(textOf(props[FromKey]))
	if err != nil {
		return err
	}
	if !slices.Contains(earlier, m.From) {
		earlier = append(earlier, m.From)
	}
	list, err := json.Marshal(earlier)
	if err != nil {
		return err
	}
	props[FromKey] = string(list)
	doc["metadata-log"] = []any{} // they name files at the old place
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

// copied is a file that was written anew.
type copied struct {
	location string
	bytes    int64
	grown    growth // of the files that it names
}

// growth is by how many bytes the delete files of a manifest, or of a snapshot,
// are larger than they were: paths have another length.
type growth struct{ live, added, removed int64 }

// inSummary corrects the summary of a snapshot.
func (g growth) inSummary(summary any) error {
	of, _ := summary.(map[string]any)
	for key, by := range map[string]int64{"total-files-size": g.live, "added-files-size": g.added, "removed-files-size": g.removed} {
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

// writer writes anew what names files of one table, each once.
type writer struct {
	move      Move
	files     iceio.WriteFileIO
	locations table.LocationProvider
	written   map[string]copied // by what it was before
	there     map[string]bool
}

// once writes a file anew unless that was done.
func (w *writer) once(ctx context.Context, before string, write func(*growth) (string, error)) (copied, error) {
	if made, ok := w.written[before]; ok {
		return made, nil
	}
	if err := ctx.Err(); err != nil {
		return copied{}, err
	}
	var made copied
	var err error
	if made.location, err = write(&made.grown); err != nil {
		return copied{}, fmt.Errorf("relocating %s: %w", before, err)
	}
	if made.bytes, err = w.size(made.location); err != nil {
		return copied{}, err
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

// mustBeThere reports a file that was not copied with the others.
func (w *writer) mustBeThere(before string) error {
	location := w.move.Location(before)
	if w.there[location] {
		return nil
	}
	_, err := w.size(location)
	w.there[location] = err == nil
	return err
}

// create writes a file that copies another one.
func (w *writer) create(location string, write func(io.Writer) error) (string, error) {
	out, err := w.files.Create(location)
	if err != nil {
		return "", err
	}
	if err := errors.Join(write(out), out.Close()); err != nil {
		return "", errors.Join(err, w.files.Remove(location))
	}
	return location, nil
}
