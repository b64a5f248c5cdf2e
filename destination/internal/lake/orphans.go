package lake

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
)

const (
	// orphanAge is how old a file must be to be an orphan: younger ones may be
	// staged by a writer that has not committed yet.
	orphanAge = 24 * time.Hour
	// orphansKey is the table property that says when orphans were last looked
	// for, which after a write is done once a day.
	orphansKey = "airbyte.orphans-removed"
)

// orphanSuffixes are the names of the files that Iceberg's writers make, and of
// this program's runs.
var orphanSuffixes = []string{".parquet", ".orc", ".avro", ".puffin", ".stats", ".metadata.json", runSuffix}

// removeOrphans deletes the files under the table's location that nothing
// names: what killed writers have staged, and what upkeep that was cut off has
// left. It touches nothing when it cannot be sure that the location is the
// table's alone.
func (t *Table) removeOrphans(ctx context.Context, base *table.Table, u Upkeep, did *Maintained) error {
	if last, err := time.Parse(time.RFC3339, base.Properties()[orphansKey]); err == nil && !u.Thorough && time.Since(last) < orphanAge {
		return nil
	}
	if !collects(base.Metadata()) {
		did.leave("orphans are not removed, because the table's property %s forbids it", table.GCEnabledKey)
		return nil
	}
	lister, ok := t.files.(iceio.ListableIO)
	if !ok {
		did.leave("orphans are not removed, because the storage cannot be listed")
		return nil
	}
	found, err := list(ctx, lister, base.Location())
	if err != nil {
		return err
	}
	old := slices.DeleteFunc(slices.Clone(found), func(f foundFile) bool {
		return time.Since(f.modified) < orphanAge || !slices.ContainsFunc(orphanSuffixes, func(s string) bool { return strings.HasSuffix(f.path, s) })
	})
	if len(old) > 0 {
		// What was committed while the files were listed is named by now.
		if base, err = t.cat.LoadTable(ctx, t.id); err != nil {
			return fmt.Errorf("loading table %s: %w", t, err)
		}
		named, err := t.named(ctx, base)
		if err != nil {
			return fmt.Errorf("looking for what the table names: %w", err)
		}
		old = slices.DeleteFunc(old, func(f foundFile) bool { return named[plainPath(f.path)] })
		if len(old) > 0 {
			reason, err := t.shares(ctx, base, found, named)
			if err != nil {
				return err
			}
			if reason != "" {
				did.leave("%d files that nothing names are not removed: %s", len(old), reason)
				return nil
			}
		}
	}
	for _, f := range old {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := t.removeAll([]string{f.path}); err != nil {
			return err
		}
		did.RemovedOrphans++
	}
	if u.Thorough {
		return nil
	}
	looked := time.Now().UTC().Format(time.RFC3339)
	_, _, err = t.amend(ctx, func(meta table.Metadata) ([]table.Requirement, []table.Update) {
		if meta.Properties()[orphansKey] >= looked {
			return nil, nil
		}
		return nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{orphansKey: looked})}
	})
	return err
}

type foundFile struct {
	path     string
	modified time.Time
}

// list lists the files under a location, none when there is no such place.
func list(ctx context.Context, files iceio.ListableIO, location string) ([]foundFile, error) {
	var found []foundFile
	err := files.WalkDir(location, func(path string, d fs.DirEntry, err error) error {
		switch {
		case ctx.Err() != nil:
			return ctx.Err()
		case errors.Is(err, fs.ErrNotExist): // gone since its directory was read
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

// named are the paths of all files that a table's metadata, or anything it
// names, names.
func (t *Table) named(ctx context.Context, base *table.Table) (map[string]bool, error) {
	meta := base.Metadata()
	named := map[string]bool{plainPath(base.MetadataLocation()): true}
	for entry := range meta.PreviousFiles() {
		named[plainPath(entry.MetadataFile)] = true
	}
	for s := range meta.Statistics() {
		named[plainPath(s.StatisticsPath)] = true
	}
	for s := range meta.PartitionStatistics() {
		named[plainPath(s.StatisticsPath)] = true
	}
	for _, s := range meta.Snapshots() {
		named[plainPath(s.ManifestList)] = true
		manifests, err := s.Manifests(t.files)
		if err != nil {
			return nil, err
		}
		for _, m := range manifests {
			if named[plainPath(m.FilePath())] {
				continue
			}
			if err := ctx.Err(); err != nil {
				return nil, err
			}
			named[plainPath(m.FilePath())] = true
			for entry, err := range m.Entries(t.files, false) {
				if err != nil {
					return nil, fmt.Errorf("reading %s: %w", m.FilePath(), err)
				}
				named[plainPath(entry.DataFile().FilePath())] = true
			}
		}
	}
	return named, nil
}

// shares says why the files under a table's location may not all be the
// table's own; nothing when they are.
func (t *Table) shares(ctx context.Context, base *table.Table, found []foundFile, named map[string]bool) (string, error) {
	seen := map[string]bool{}
	for _, f := range found {
		seen[plainPath(f.path)] = true
		if !strings.HasSuffix(f.path, ".metadata.json") || named[plainPath(f.path)] {
			continue
		}
		if id := t.metadataUUID(ctx, f.path); id != "" && id != t.uuid.String() {
			return fmt.Sprintf("%s is the metadata of another table, whose files they may be; remove it, and what belongs to it, by hand if that table is no more", f.path), nil
		}
	}
	// If files are not named as they are listed, everything looks orphaned.
	if current := plainPath(base.MetadataLocation()); within(current, plainPath(base.Location())) && !seen[current] {
		if last, ok := previous(base.Metadata()); !ok || !seen[plainPath(last)] {
			return fmt.Sprintf("the table's metadata file %s is not among the files listed under its location", base.MetadataLocation()), nil
		}
	}
	namespaces, err := t.cat.ListNamespaces(ctx, nil)
	if err != nil {
		return "", fmt.Errorf("listing namespaces: %w", err)
	}
	for _, namespace := range namespaces {
		for id, err := range t.cat.ListTables(ctx, namespace) {
			if err != nil {
				return "", fmt.Errorf("listing tables: %w", err)
			}
			if slices.Equal(id, t.id) {
				continue
			}
			other, err := t.cat.LoadTable(ctx, id)
			if errors.Is(err, catalog.ErrNoSuchTable) {
				continue
			}
			if err != nil {
				return "", fmt.Errorf("loading table %s: %w", strings.Join(id, "."), err)
			}
			for _, place := range []string{
				other.Location(), other.Properties()[table.WriteDataPathKey], other.Properties()[table.WriteMetadataPathKey],
			} {
				if a, b := plainPath(place), plainPath(base.Location()); place != "" && (within(a, b) || within(b, a)) {
					return fmt.Sprintf("table %s keeps files in %s, so that they may be its", strings.Join(id, "."), place), nil
				}
			}
		}
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

// metadataUUID is the table a metadata file is of; "" when it does not say, as
// one that was cut off when it was written.
func (t *Table) metadataUUID(ctx context.Context, path string) string {
	loaded, err := table.NewFromLocation(ctx, t.id, path, func(context.Context) (iceio.IO, error) { return t.files, nil }, nil)
	if err == nil {
		return loaded.Metadata().TableUUID().String()
	}
	return ""
}

func within(inner, outer string) bool {
	return inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/")
}

// plainPath is one way to write a location, of the several there are.
func plainPath(location string) string {
	u, err := url.Parse(location)
	switch {
	case err != nil || u.Scheme == "":
		return path.Clean(location)
	case u.Scheme == "file":
		return path.Clean(u.Path)
	case u.Scheme == "s3a" || u.Scheme == "s3n":
		u.Scheme = "s3"
	}
	return u.Scheme + "://" + u.Host + path.Clean("/"+u.Path)
}
