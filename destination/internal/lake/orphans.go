package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/relocation"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

const (
	// orphanAge is how old a file must be to count as an orphan. A younger one
	// may belong to a writer that has not committed yet.
	orphanAge = 24 * time.Hour
	// orphansKey is the table property with the time of the last search for
	// orphans. After a write there is one a day.
	orphansKey = "airbyte.orphans-removed"
)

// orphanSuffixes are the suffixes of the files that Iceberg's writers make, and of
// this program's scratch files.
var orphanSuffixes = []string{".parquet", ".orc", ".avro", ".puffin", ".stats", ".metadata.json", storage.RowsSuffix, storage.KeysSuffix}

// removeOrphans removes the files under the table's location that nothing names:
// killed writers staged them, or maintenance was killed before it removed them.
// Unless AllOrphans asks for more, it removes only files of this program. It
// removes nothing if they may belong to another table.
func (t upkeep) removeOrphans(ctx context.Context, base *table.Table, u Upkeep, did *Maintained) error {
	if last, err := time.Parse(time.RFC3339, base.Properties()[orphansKey]); err == nil && !u.Thorough && time.Since(last) < orphanAge {
		return nil
	}
	if !gcEnabled(base.Metadata()) {
		did.leave("orphans are not removed, because the table property %s forbids it", table.GCEnabledKey)
		return nil
	}
	lister, ok := t.files.(iceio.ListableIO)
	if !ok {
		did.leave("orphans are not removed, because the storage cannot be listed")
		return nil
	}
	did.LookedForOrphans = true
	found, err := list(ctx, lister, base.Location())
	if err != nil {
		return err
	}
	// Files that were committed while the files were listed are named now.
	if base, err = t.cat.LoadTable(ctx, t.id); err != nil {
		return fmt.Errorf("loading table %s: %w", t, err)
	}
	orphans, err := t.orphans(ctx, base, found, u, did)
	if err != nil {
		return err
	}
	removed, err := t.remove(ctx, orphans, u)
	did.Removed = append(did.Removed, removed...)
	did.RemovedOrphans += len(removed)
	if err != nil {
		return err
	}
	if u.Thorough || u.DryRun {
		return nil
	}
	looked := time.Now().UTC().Format(time.RFC3339)
	_, _, err = t.commitMetadata(ctx, func(base *table.Table) ([]table.Requirement, []table.Update, error) {
		if base.Properties()[orphansKey] >= looked {
			return nil, nil, nil
		}
		return nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{orphansKey: looked})}, nil
	})
	return err
}

// orphans lists which of the found files to remove.
func (t upkeep) orphans(ctx context.Context, base *table.Table, found []foundFile, u Upkeep, did *Maintained) ([]string, error) {
	own := tabledef.PathsOf(base.Location(), base.Metadata())
	history := t.history(base, found)
	var old []string
	for _, f := range found {
		superseded, isHistory := history[filenames.Plain(f.path)]
		switch {
		case time.Since(f.modified) < orphanAge, isHistory && (superseded.IsZero() || time.Since(superseded) < t.readerGracePeriod):
		case isHistory, u.AllOrphans && slices.ContainsFunc(orphanSuffixes, func(s string) bool { return strings.HasSuffix(f.path, s) }),
			filenames.Ours(f.path) && own.Contain(f.path):
			old = append(old, f.path)
		}
	}
	if len(old) == 0 {
		return nil, nil
	}
	named, err := t.referencedFiles(ctx, base)
	if err != nil {
		return nil, fmt.Errorf("looking for what the table names: %w", err)
	}
	old = slices.DeleteFunc(old, func(file string) bool { return named[filenames.Plain(file)] })
	if len(old) == 0 {
		return nil, nil
	}
	around, err := t.surroundingsOf(ctx, base, found)
	if err != nil {
		return nil, err
	}
	if around.sharedBecause != "" {
		did.leave("%d files that nothing names are not removed: %s", len(old), around.sharedBecause)
		return nil, nil
	}
	if u.AllOrphans { // metadata files that no catalog knows go with what they name
		return old, nil
	}
	return slices.DeleteFunc(old, func(file string) bool { return around.namedByOthers[filenames.Plain(file)] }), nil
}

// history returns when each metadata file of this table was superseded, and the
// zero time for the current one. A commit drops old entries from the table's list
// of metadata files but leaves files that are too young to remove. Each metadata
// file lists some before it, so the oldest one that the table lists leads to them.
func (t upkeep) history(base *table.Table, found []foundFile) map[string]time.Time {
	there := map[string]bool{}
	for _, f := range found {
		there[filenames.Plain(f.path)] = true
	}
	history := map[string]time.Time{filenames.Plain(base.MetadataLocation()): {}}
	for meta := base.Metadata(); meta != nil; {
		oldest := ""
		entries := slices.Collect(meta.PreviousFiles())
		for i, entry := range entries {
			file := filenames.Plain(entry.MetadataFile)
			if _, known := history[file]; known {
				continue
			}
			history[file] = supersededIn(entries, i, meta)
			if oldest == "" && there[file] {
				oldest = entry.MetadataFile
			}
		}
		meta = nil
		if oldest == "" {
			break
		}
		if text, err := readFile(t.files, oldest); err == nil {
			if earlier, err := table.ParseMetadataBytes(text); err == nil && earlier.TableUUID() == t.uuid {
				meta = earlier
			}
		}
	}
	t.beforeRelocation(base, found, history)
	return history
}

// beforeRelocation adds to history the metadata files that were copied from
// another place together with the table: what they name is at that place.
func (t upkeep) beforeRelocation(base *table.Table, found []foundFile, history map[string]time.Time) {
	dirs, err := relocation.Earlier(base.Properties()[relocation.FromKey])
	if err != nil || len(dirs) == 0 {
		return
	}
	access := func(context.Context) (iceio.IO, error) { return t.files, nil }
	for _, f := range found {
		if _, known := history[filenames.Plain(f.path)]; known || !tabledef.IsMetadata(f.path) {
			continue
		}
		copied, err := table.NewFromLocation(context.Background(), t.id, f.path, access, nil)
		if err != nil || copied.Metadata().TableUUID() != t.uuid {
			continue // surroundingsOf decides about it
		}
		at := filenames.Plain(copied.Location())
		if !filenames.Within(at, filenames.Plain(base.Location())) && slices.ContainsFunc(dirs, func(dir string) bool { return filenames.Within(at, dir) }) {
			history[filenames.Plain(f.path)] = f.modified
		}
	}
}

// supersededIn returns when the i-th metadata file that meta lists was superseded
// by the next.
func supersededIn(entries []table.MetadataLogEntry, i int, meta table.Metadata) time.Time {
	if i+1 < len(entries) {
		return time.UnixMilli(entries[i+1].TimestampMs)
	}
	return time.UnixMilli(meta.LastUpdatedMillis())
}

// remove removes files, unless it is a dry run, and returns those that it removed
// or would have removed.
func (t upkeep) remove(ctx context.Context, files []string, u Upkeep) ([]string, error) {
	if u.DryRun {
		return files, ctx.Err()
	}
	return storage.RemoveAll(ctx, t.files, files)
}

type foundFile struct {
	path     string
	modified time.Time
}

// list lists the files under a location, and none if it does not exist.
func list(ctx context.Context, files iceio.ListableIO, location string) ([]foundFile, error) {
	var found []foundFile
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
		found = append(found, foundFile{path, info.ModTime()})
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("listing %s: %w", location, err)
	}
	return found, nil
}

// referencedFiles returns the paths of all files that a table's metadata names,
// directly or through manifest lists and manifests.
func (t upkeep) referencedFiles(ctx context.Context, base *table.Table) (map[string]bool, error) {
	meta := base.Metadata()
	named := map[string]bool{filenames.Plain(base.MetadataLocation()): true}
	for entry := range meta.PreviousFiles() {
		named[filenames.Plain(entry.MetadataFile)] = true
	}
	for s := range meta.Statistics() {
		named[filenames.Plain(s.StatisticsPath)] = true
	}
	for s := range meta.PartitionStatistics() {
		named[filenames.Plain(s.StatisticsPath)] = true
	}
	for _, s := range meta.Snapshots() {
		named[filenames.Plain(s.ManifestList)] = true
		manifests, err := s.Manifests(t.files)
		if err != nil {
			return nil, err
		}
		for _, m := range manifests {
			if named[filenames.Plain(m.FilePath())] {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			named[filenames.Plain(m.FilePath())] = true
			for entry, err := range m.Entries(t.files, false) {
				if err != nil {
					return nil, fmt.Errorf("reading %s: %w", m.FilePath(), err)
				}
				named[filenames.Plain(entry.DataFile().FilePath())] = true
			}
		}
	}
	return named, nil
}
