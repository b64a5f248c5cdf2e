package maintenance

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Dropped says what became of the files of a table.
type Dropped struct {
	Removed int    // those that were there before, without what emptying the table made
	Others  int    // files in the table's directories that stay, because other programs created them or may need them
	Because string // why all files stay; "" if they do not
}

// Drop removes a table with its files: those that this program created and that no other
// table may need. First it empties the table, so that a reader never sees it without its
// files. The table goes last, or, if its catalog needs them for that, its last metadata
// files. So wherever this is interrupted, it can be done again.
func Drop(ctx context.Context, t *lake.Table, dryRun bool) (Dropped, error) {
	m := newMaintenance(t, Options{DryRun: dryRun})
	d, err := m.drop(ctx)
	if err != nil {
		return d, t.Explain(fmt.Errorf("dropping table %s: %w", t, err))
	}
	return d, nil
}

func (m *maintenance) drop(ctx context.Context) (d Dropped, err error) {
	files, err := m.filesOf(ctx, m.opened)
	d.Because, d.Removed, d.Others = files.sharedBecause, len(files.own), files.others
	switch {
	case err != nil || m.DryRun:
		return d, err
	case d.Because != "":
		return d, m.unregister(ctx)
	}
	emptied, err := m.empty(ctx)
	if err != nil {
		return d, err
	}
	if files, err = m.filesOf(ctx, emptied); err != nil || files.sharedBecause != "" {
		return d, errors.Join(err, because(files.sharedBecause))
	}
	needed, err := m.filesOfEmpty(emptied)
	if err != nil {
		return d, err
	}
	d.Others = files.others
	last := func(file string) bool { return needed[filenames.Plain(file)] }
	if _, err := storage.RemoveAll(ctx, m.storage.Files, slices.DeleteFunc(slices.Clone(files.own), last)); err != nil {
		return d, err
	}
	if now, err := m.load(ctx); err != nil {
		return d, err
	} else if now.MetadataLocation() != emptied.MetadataLocation() {
		return d, protocol.TransientError.Errorf(nil, "Another program has committed to table %s since it was emptied, so it was not dropped. End the syncs that write it, then run drop again.", m.table)
	}
	steps := []func(context.Context) error{
		func(ctx context.Context) error {
			rest := slices.DeleteFunc(slices.Clone(files.own), func(file string) bool { return !last(file) })
			slices.SortStableFunc(rest, metadataLast)
			_, err := storage.RemoveAll(ctx, m.storage.Files, rest)
			return err
		},
		m.unregister,
	}
	if !m.table.Catalog().ClientRemovesMetadata() { // a server may read them to drop the table
		slices.Reverse(steps)
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return d, err
		}
	}
	return d, nil
}

func because(reason string) error {
	if reason == "" {
		return nil
	}
	return errors.New(reason)
}

func metadataLast(a, b string) int {
	if tabledef.IsMetadata(a) == tabledef.IsMetadata(b) {
		return 0
	}
	if tabledef.IsMetadata(a) {
		return 1
	}
	return -1
}

// empty removes all rows of the table, and all snapshots but the empty one, and returns
// what it is then. Where the last metadata file goes before the table, the empty snapshot
// goes, too: the metadata file is then all that is needed, and can be removed at once.
func (m *maintenance) empty(ctx context.Context) (*table.Table, error) {
	if _, err := m.table.Reset(ctx); err != nil {
		return nil, err
	}
	_, _, err := m.table.UpdateMetadata(ctx, func(base *table.Table) (_ []table.Requirement, updates []table.Update, _ error) {
		meta := base.Metadata()
		keep := base.CurrentSnapshot()
		if m.table.Catalog().ClientRemovesMetadata() {
			keep = nil
		}
		for name := range meta.Refs() {
			if name != table.MainBranch || keep == nil {
				updates = append(updates, table.NewRemoveSnapshotRefUpdate(name))
			}
		}
		var ids []int64
		for _, s := range meta.Snapshots() {
			if keep == nil || keep.SnapshotID != s.SnapshotID {
				ids = append(ids, s.SnapshotID)
			}
		}
		if len(ids) > 0 {
			updates = append(updates, table.NewRemoveSnapshotsUpdate(ids, false))
		}
		return nil, updates, nil
	})
	if err != nil {
		return nil, err
	}
	return m.load(ctx)
}

// tableFiles are the files in the directories of a table.
type tableFiles struct {
	own           []string // that this program created and no other program needs
	others        int
	sharedBecause string // why all may belong to others, too; "" if they do not
}

// filesOf finds the files in the directories of a table.
func (m *maintenance) filesOf(ctx context.Context, base *table.Table) (f tableFiles, err error) {
	lister, ok := m.storage.Files.(iceio.ListableIO)
	switch {
	case !ok:
		f.sharedBecause = "the storage cannot be listed"
		return f, nil
	case !gcEnabled(base.Metadata()):
		f.sharedBecause = fmt.Sprintf("the table property %s forbids to remove them", table.GCEnabledKey)
		return f, nil
	}
	own := tabledef.PathsOf(base.Location(), base.Metadata())
	dirs := []string{filenames.Plain(base.Location())}
	for _, dir := range []string{own.Data, own.Metadata} {
		if !filenames.Within(dir, dirs[0]) {
			dirs = append(dirs, dir)
		}
	}
	var found []storage.File
	for _, dir := range dirs {
		in, err := storage.List(ctx, lister, dir)
		if err != nil {
			return f, err
		}
		found = append(found, in...)
		if f.sharedBecause, err = m.sharedBecause(ctx, dir); err != nil || f.sharedBecause != "" {
			return f, err
		}
	}
	around, err := m.surroundingsOf(ctx, base, found)
	if f.sharedBecause = around.sharedBecause; err != nil || f.sharedBecause != "" {
		return f, err
	}
	history := m.history(base, found)
	for _, file := range found {
		plain := filenames.Plain(file.Path)
		_, isHistory := history[plain]
		switch {
		case around.referencedByOthers[plain], !isHistory && !around.cutOff[plain] && !snapshots.IsVersionHint(plain, base.Location()) && !m.removes(file.Path, own):
			f.others++
		default:
			f.own = append(f.own, file.Path)
		}
	}
	return f, nil
}

// filesOfEmpty returns the plain paths of what an empty table needs to be read.
func (m *maintenance) filesOfEmpty(base *table.Table) (map[string]bool, error) {
	needed := map[string]bool{filenames.Plain(base.MetadataLocation()): true}
	if s := base.CurrentSnapshot(); s != nil {
		needed[filenames.Plain(s.ManifestList)] = true
		manifests, err := s.Manifests(m.storage.Files)
		if err != nil {
			return nil, err
		}
		for _, manifest := range manifests {
			needed[filenames.Plain(manifest.FilePath())] = true
		}
	}
	return needed, nil
}

// unregister removes the table from its catalog. That it is not there any more is what
// an earlier attempt without an answer can lead to.
func (m *maintenance) unregister(ctx context.Context) error {
	cat, id := m.table.Catalog(), m.opened.Identifier()
	err := cat.DropTable(ctx, id)
	if err == nil || errors.Is(err, catalog.ErrNoSuchTable) {
		return nil
	}
	if there, checkErr := cat.CheckTableExists(ctx, id); checkErr == nil && !there {
		return nil
	}
	return err
}
