package maintenance

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/relocation"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// orphanSuffixes are the suffixes of the files that Iceberg's writers make, and of
// this program's scratch files.
var orphanSuffixes = []string{".parquet", ".orc", ".avro", ".puffin", ".stats", ".metadata.json", storage.RowsSuffix, storage.KeysSuffix}

// removeOrphans removes the files under the table's location that nothing names:
// killed writers staged them, or maintenance was killed before it removed them.
// Unless AllOrphans asks for more, it removes only files of this program. It
// removes nothing if they may belong to another table.
func (m *maintenance) removeOrphans(ctx context.Context, base *table.Table) error {
	if last, err := time.Parse(time.RFC3339, base.Properties()[lake.OrphansKey]); err == nil && !m.Thorough && time.Since(last) < filenames.OrphanAge {
		return nil
	}
	if !gcEnabled(base.Metadata()) {
		m.did.addNotDone("orphans are not removed, because the table property %s forbids it", table.GCEnabledKey)
		return nil
	}
	lister, ok := m.storage.Files.(iceio.ListableIO)
	if !ok {
		m.did.addNotDone("orphans are not removed, because the storage cannot be listed")
		return nil
	}
	m.did.LookedForOrphans = true
	found, err := storage.List(ctx, lister, base.Location())
	if err != nil {
		return err
	}
	// Files that were committed while the files were listed are named now.
	if base, err = m.load(ctx); err != nil {
		return err
	}
	orphans, err := m.orphans(ctx, base, found)
	if err != nil {
		return err
	}
	if slices.ContainsFunc(orphans, tabledef.IsMetadata) && !m.DryRun {
		// A writer that was slow to write the hint may have made it name one of them.
		if err := m.storage.EnsureVersionHint(base.MetadataLocation()); err != nil {
			return err
		}
	}
	removed, err := m.remove(ctx, orphans)
	m.did.RemovedOrphans += removed
	if err != nil {
		return err
	}
	if err := m.abortUploads(ctx, base); err != nil {
		return err
	}
	if m.Thorough || m.DryRun {
		return nil
	}
	looked := time.Now().UTC().Format(time.RFC3339)
	_, _, err = m.table.UpdateMetadata(ctx, func(base *table.Table) ([]table.Requirement, []table.Update, error) {
		if base.Properties()[lake.OrphansKey] >= looked {
			return nil, nil, nil
		}
		return nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{lake.OrphansKey: looked})}, nil
	})
	return err
}

// orphans lists which of the found files to remove.
func (m *maintenance) orphans(ctx context.Context, base *table.Table, found []storage.File) ([]string, error) {
	own := tabledef.PathsOf(base.Location(), base.Metadata())
	history := m.history(base, found)
	var old []string
	for _, f := range found {
		superseded, isHistory := history[filenames.Plain(f.Path)]
		switch {
		case time.Since(f.Modified) < filenames.OrphanAge, isHistory && (superseded.IsZero() || time.Since(superseded) < m.table.ReaderTime()):
		case isHistory && !m.table.Catalog().ClientRemovesMetadata(): // the catalog does
		case isHistory, m.removes(f.Path, own):
			old = append(old, f.Path)
		}
	}
	if len(old) == 0 {
		return nil, nil
	}
	referenced, err := m.referencedFiles(ctx, base)
	if err != nil {
		return nil, fmt.Errorf("looking for what the table names: %w", err)
	}
	old = slices.DeleteFunc(old, func(file string) bool { return referenced[filenames.Plain(file)] })
	if len(old) == 0 {
		return nil, nil
	}
	around, err := m.surroundingsOf(ctx, base, found)
	if err != nil {
		return nil, err
	}
	if around.sharedBecause != "" {
		m.did.addNotDone("%d files that nothing names are not removed: %s", len(old), around.sharedBecause)
		return nil, nil
	}
	if m.AllOrphans { // metadata files that no catalog knows go with what they name
		return old, nil
	}
	return slices.DeleteFunc(old, func(file string) bool { return around.referencedByOthers[filenames.Plain(file)] }), nil
}

// removes reports whether a file is one of those that are removed when nothing
// names them; own are the table's directories.
func (m *maintenance) removes(file string, own tabledef.Paths) bool {
	return m.AllOrphans && slices.ContainsFunc(orphanSuffixes, func(s string) bool { return strings.HasSuffix(file, s) }) ||
		filenames.HasMark(file) && own.Contain(file)
}

// abortUploads aborts what killed writers began to upload. It counts as orphans. Not
// to be allowed to do so is no failure: everything else is done without.
func (m *maintenance) abortUploads(ctx context.Context, base *table.Table) error {
	err := m.abortOldUploads(ctx, base)
	if e := storage.Explain(err, "table "+m.table.String()); e != nil && e.Kind == protocol.ConfigError {
		m.did.addNotDone("uploads that were begun more than a day ago and never completed are not removed: %s", e.Message)
		return nil
	}
	return err
}

func (m *maintenance) abortOldUploads(ctx context.Context, base *table.Table) error {
	open, err := storage.OpenUploads(ctx, m.storage.Files, base.Location())
	if err != nil {
		return err
	}
	own := tabledef.PathsOf(base.Location(), base.Metadata())
	for _, u := range open {
		if time.Since(u.Started) < filenames.OrphanAge || !m.removes(u.Path, own) {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if !m.DryRun {
			if err := storage.AbortUpload(m.storage.Files, u); err != nil {
				return err
			}
		}
		m.did.Removed = append(m.did.Removed, u.Path)
		m.did.RemovedOrphans++
	}
	return nil
}

// history returns when each metadata file of this table was superseded, and the
// zero time for the current one. A commit drops old entries from the table's list
// of metadata files but leaves files that are too young to remove. Each metadata
// file lists some before it, so the oldest one that the table lists leads to them.
func (m *maintenance) history(base *table.Table, found []storage.File) map[string]time.Time {
	there := map[string]bool{}
	for _, f := range found {
		there[filenames.Plain(f.Path)] = true
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
			history[file] = snapshots.MetadataSuperseded(entries, i, meta)
			if oldest == "" && there[file] {
				oldest = entry.MetadataFile
			}
		}
		meta = nil
		if oldest == "" {
			break
		}
		if text, err := snapshots.ReadMetadata(m.storage.Files, oldest); err == nil {
			if earlier, err := table.ParseMetadataBytes(text); err == nil && earlier.TableUUID() == m.opened.Metadata().TableUUID() {
				meta = earlier
			}
		}
	}
	m.beforeRelocation(base, found, history)
	return history
}

// beforeRelocation adds to history the metadata files that were copied from
// another place together with the table: what they name is at that place.
func (m *maintenance) beforeRelocation(base *table.Table, found []storage.File, history map[string]time.Time) {
	dirs, err := relocation.Earlier(base.Properties()[relocation.FromKey])
	if err != nil || len(dirs) == 0 {
		return
	}
	access := func(context.Context) (iceio.IO, error) { return m.storage.Files, nil }
	for _, f := range found {
		if _, known := history[filenames.Plain(f.Path)]; known || !tabledef.IsMetadata(f.Path) {
			continue
		}
		copied, err := table.NewFromLocation(context.Background(), m.opened.Identifier(), f.Path, access, nil)
		if err != nil || copied.Metadata().TableUUID() != m.opened.Metadata().TableUUID() {
			continue // surroundingsOf decides about it
		}
		at := filenames.Plain(copied.Location())
		if !filenames.Within(at, filenames.Plain(base.Location())) && slices.ContainsFunc(dirs, func(dir string) bool { return filenames.Within(at, dir) }) {
			history[filenames.Plain(f.Path)] = f.Modified
		}
	}
}

// referencedFiles returns the paths of all files that a table's metadata names,
// directly or through manifest lists and manifests.
func (m *maintenance) referencedFiles(ctx context.Context, base *table.Table) (map[string]bool, error) {
	meta := base.Metadata()
	referenced := map[string]bool{filenames.Plain(base.MetadataLocation()): true}
	for entry := range meta.PreviousFiles() {
		referenced[filenames.Plain(entry.MetadataFile)] = true
	}
	for s := range meta.Statistics() {
		referenced[filenames.Plain(s.StatisticsPath)] = true
	}
	for s := range meta.PartitionStatistics() {
		referenced[filenames.Plain(s.StatisticsPath)] = true
	}
	for _, s := range meta.Snapshots() {
		referenced[filenames.Plain(s.ManifestList)] = true
		manifests, err := s.Manifests(m.storage.Files)
		if err != nil {
			return nil, err
		}
		for _, manifest := range manifests {
			if referenced[filenames.Plain(manifest.FilePath())] {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			referenced[filenames.Plain(manifest.FilePath())] = true
			for entry, err := range manifest.Entries(m.storage.Files, false) {
				if err != nil {
					return nil, fmt.Errorf("reading %s: %w", manifest.FilePath(), err)
				}
				referenced[filenames.Plain(entry.DataFile().FilePath())] = true
			}
		}
	}
	return referenced, nil
}
