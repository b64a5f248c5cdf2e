package maintenance

import (
	"context"
	"encoding/json"
	"fmt"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// Maintenance removes files for good, from directories in which other programs
// keep files too. So this program marks the names of its files. By itself it
// removes only files that have the mark, lie below the table's own paths, and are
// named by no metadata file there, whoever wrote that. Metadata files have the
// library's names instead of the mark. Of those it removes what the history of the
// table names as superseded.

// surroundings say to whom the files below a table's location may belong.
type surroundings struct {
	// Files that a metadata file of this table names that is not in the table's
	// history: another catalog may have registered it.
	referencedByOthers map[string]bool
	cutOff             map[string]bool // metadata files that were never written to their end: nobody needs them
	// Why files may belong to another table; "" if they do not.
	sharedBecause string
}

// surroundingsOf reads each metadata file among the found ones that is not in the
// table's history, and looks in the catalog for other tables at the location. If
// a metadata file cannot be read, any file may belong to its table.
func (m *maintenance) surroundingsOf(ctx context.Context, base *table.Table, found []storage.File) (surroundings, error) {
	s := surroundings{referencedByOthers: map[string]bool{}, cutOff: map[string]bool{}}
	history := m.history(base, found)
	seen := map[string]bool{}
	for _, f := range found {
		seen[filenames.Plain(f.Path)] = true
		if _, known := history[filenames.Plain(f.Path)]; known || !tabledef.IsMetadata(f.Path) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return s, err
		}
		why, err := m.readMetadata(ctx, f.Path, s)
		if err != nil || why != "" {
			s.sharedBecause = why
			return s, err
		}
	}
	// If the storage lists files under other names, every file looks like an orphan.
	if current := filenames.Plain(base.MetadataLocation()); filenames.Within(current, filenames.Plain(base.Location())) && !seen[current] {
		if last, ok := previous(base.Metadata()); !ok || !seen[filenames.Plain(last)] {
			s.sharedBecause = fmt.Sprintf("the table's metadata file %s is not among the files listed under its location", base.MetadataLocation())
			return s, nil
		}
	}
	var err error
	s.sharedBecause, err = m.sharedBecause(ctx, filenames.Plain(base.Location()))
	return s, err
}

// readMetadata adds to s the files that a metadata file of this table names.
// If the metadata file belongs to another table or cannot be read, it returns why
// nothing may be removed.
func (m *maintenance) readMetadata(ctx context.Context, location string, s surroundings) (why string, err error) {
	text, err := snapshots.ReadMetadata(m.storage.Files, location)
	if err != nil {
		return fmt.Sprintf("%s looks like the metadata of a table and cannot be read (%v)", location, err), nil
	}
	if !json.Valid(text) && !snapshots.IsZstd(text) {
		s.cutOff[filenames.Plain(location)] = true // when it was written: no catalog names it
		return "", nil
	}
	var of struct {
		UUID string `json:"table-uuid"`
	}
	if err := json.Unmarshal(text, &of); err != nil {
		return fmt.Sprintf("%s looks like the metadata of a table and cannot be read (%v)", location, err), nil
	}
	if of.UUID == "" {
		return fmt.Sprintf("%s looks like table metadata, but does not name its table", location), nil
	}
	if of.UUID != m.opened.Metadata().TableUUID().String() {
		return fmt.Sprintf("%s is the metadata of another table, whose files they may be; remove it, and what belongs to it, by hand if that table is no more", location), nil
	}
	meta, err := table.ParseMetadataBytes(text)
	if err != nil {
		return fmt.Sprintf("%s is metadata of this table that cannot be read (%v)", location, err), nil
	}
	fs := func(context.Context) (iceio.IO, error) { return m.storage.Files, nil }
	others, err := m.referencedFiles(ctx, table.New(m.opened.Identifier(), meta, location, fs, nil))
	if err != nil {
		return fmt.Sprintf("%s is metadata of this table, and what it names cannot be read (%v)", location, err), nil
	}
	for file := range others {
		s.referencedByOthers[file] = true
	}
	return "", nil
}

// previous is the metadata file before the current one.
func previous(meta table.Metadata) (string, bool) {
	last, ok := "", false
	for entry := range meta.PreviousFiles() {
		last, ok = entry.MetadataFile, true
	}
	return last, ok
}
