package maintenance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// Purge leaves nothing of a table but what the last snapshots of its branches consist of:
// all other snapshots expire, tags on them are removed, and the files that only those
// named, with all superseded metadata files. A reader of an older snapshot fails. If the
// tag pin is on such a snapshot, nothing is done, because somebody shows it. What stays
// is in NotDone. Data files go first and metadata files last, so that it can be
// done again wherever it is interrupted.
func Purge(ctx context.Context, t *lake.Table, pin string) (Report, error) {
	m := newMaintenance(t, Options{Thorough: true})
	if err := m.purge(ctx, pin); err != nil {
		return m.did, t.Explain(fmt.Errorf("removing what older snapshots of table %s hold: %w", t, err))
	}
	return m.did, nil
}

func (m *maintenance) purge(ctx context.Context, pin string) error {
	expired, err := m.expireAll(ctx, pin)
	if err != nil || len(m.did.NotDone) > 0 {
		return err
	}
	m.did.ExpiredSnapshots = expired
	lister, ok := m.storage.Files.(iceio.ListableIO)
	if !ok {
		m.did.addNotDone("files that older snapshots hold are not removed, because the storage cannot be listed")
		return nil
	}
	base, err := m.load(ctx)
	if err != nil {
		return err
	}
	found, err := storage.List(ctx, lister, base.Location())
	if err != nil {
		return err
	}
	around, err := m.surroundingsOf(ctx, base, found)
	if err != nil {
		return err
	}
	if around.sharedBecause != "" {
		m.did.addNotDone("files that older snapshots hold are not removed: %s", around.sharedBecause)
		return nil
	}
	history := m.history(base, found)
	needed, err := m.referencedFiles(ctx, base)
	if err != nil {
		return err
	}
	older, superseded, err := m.olderFiles(ctx, base, found, history)
	if err != nil {
		return err
	}
	own := tabledef.PathsOf(base.Location(), base.Metadata())
	var remove []string
	for _, file := range older {
		switch plain := filenames.Plain(file); {
		case needed[plain]:
		case around.referencedByOthers[plain], !filenames.HasMark(file), !own.Contain(file):
			m.did.addNotDone("%s stays, because another program created it or may need it", file)
		default:
			remove = append(remove, file)
		}
	}
	if err := m.storage.EnsureVersionHint(base.MetadataLocation()); err != nil {
		return err
	}
	if m.table.Catalog().ClientRemovesMetadata() { // else the catalog does; they name no values
		remove = append(remove, superseded...)
	}
	removed, err := m.remove(ctx, remove)
	m.did.RemovedFiles += removed
	if err != nil {
		return err
	}
	return m.removeUnreferenced(ctx, lister)
}

// removeUnreferenced removes the old orphans and reports the young ones: they may belong to a writer
// that has not committed yet.
func (m *maintenance) removeUnreferenced(ctx context.Context, lister iceio.ListableIO) error {
	base, err := m.load(ctx)
	if err != nil {
		return err
	}
	if err := m.removeOrphans(ctx, base); err != nil {
		return err
	}
	found, err := storage.List(ctx, lister, base.Location())
	if err != nil {
		return err
	}
	if base, err = m.load(ctx); err != nil {
		return err
	}
	needed, err := m.referencedFiles(ctx, base)
	if err != nil {
		return err
	}
	for _, f := range found {
		if filenames.HasMark(f.Path) && !needed[filenames.Plain(f.Path)] && time.Since(f.Modified) < filenames.OrphanAge {
			m.did.addNotDone("%s stays, because a sync that is running may need it; run this again when none is, a day later", f.Path)
		}
	}
	return nil
}

// expireAll removes all snapshots but the last ones of branches, and the tags on them.
func (m *maintenance) expireAll(ctx context.Context, pin string) (count int, err error) {
	_, _, err = m.table.UpdateMetadata(ctx, func(base *table.Table) (reqs []table.Requirement, updates []table.Update, _ error) {
		meta := base.Metadata()
		m.did.NotDone = nil
		if !gcEnabled(meta) {
			m.did.addNotDone("older snapshots are not removed, because the table property %s forbids it", table.GCEnabledKey)
			return nil, nil, nil
		}
		last := map[int64]bool{}
		for name, ref := range meta.Refs() {
			if ref.SnapshotRefType == table.BranchRef {
				last[ref.SnapshotID] = true
			}
			reqs = append(reqs, table.AssertRefSnapshotID(name, &ref.SnapshotID))
		}
		for name, ref := range meta.Refs() {
			switch {
			case last[ref.SnapshotID]:
			case name == pin:
				m.did.addNotDone("older snapshots are not removed, because snapshot %d is shown by another program, as the tag %s says", ref.SnapshotID, pin)
				return nil, nil, nil
			default:
				updates = append(updates, table.NewRemoveSnapshotRefUpdate(name))
			}
		}
		var ids []int64
		for _, s := range meta.Snapshots() {
			if !last[s.SnapshotID] {
				ids = append(ids, s.SnapshotID)
			}
		}
		if count = len(ids); count == 0 {
			return nil, nil, nil
		}
		states, err := lake.KeepStates(ctx, base, ids)
		return reqs, append(append(states, updates...), table.NewRemoveSnapshotsUpdate(ids, false)), err
	})
	return count, err
}

// olderFiles lists what the superseded metadata files of the table name, data files first
// and manifest lists last, and those metadata files. What an interrupted run has removed
// is passed over.
func (m *maintenance) olderFiles(ctx context.Context, base *table.Table, found []storage.File, history map[string]time.Time) (files, metadata []string, err error) {
	seen := map[string]bool{}
	add := func(to *[]string, path string) bool {
		if path == "" || seen[path] {
			return false
		}
		seen[path] = true
		*to = append(*to, path)
		return true
	}
	var data, manifests, lists []string
	for _, f := range found {
		if _, known := history[filenames.Plain(f.Path)]; !known || filenames.Plain(f.Path) == filenames.Plain(base.MetadataLocation()) {
			continue
		}
		metadata = append(metadata, f.Path)
		text, err := snapshots.ReadMetadata(m.storage.Files, f.Path)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, err
		}
		meta, err := table.ParseMetadataBytes(text)
		if err != nil {
			return nil, nil, fmt.Errorf("reading %s: %w", f.Path, err)
		}
		for s := range meta.Statistics() {
			add(&data, s.StatisticsPath)
		}
		for s := range meta.PartitionStatistics() {
			add(&data, s.StatisticsPath)
		}
		for _, s := range meta.Snapshots() {
			if !add(&lists, s.ManifestList) {
				continue
			}
			if err := m.filesOfSnapshot(ctx, s, func(manifest iceberg.ManifestFile) bool { return add(&manifests, manifest.FilePath()) }, func(path string) { add(&data, path) }); err != nil {
				return nil, nil, err
			}
		}
	}
	return append(append(data, manifests...), lists...), metadata, nil
}

// filesOfSnapshot calls visit for each file that a snapshot names. Manifests that isNew
// refuses, or that have been removed, are passed over.
func (m *maintenance) filesOfSnapshot(ctx context.Context, s table.Snapshot, isNew func(iceberg.ManifestFile) bool, visit func(path string)) error {
	of, err := s.Manifests(m.storage.Files)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	for _, manifest := range of {
		if err := ctx.Err(); err != nil {
			return err
		}
		if !isNew(manifest) {
			continue
		}
		for entry, err := range manifest.Entries(m.storage.Files, false) {
			if errors.Is(err, fs.ErrNotExist) {
				break
			}
			if err != nil {
				return fmt.Errorf("reading %s: %w", manifest.FilePath(), err)
			}
			visit(entry.DataFile().FilePath())
		}
	}
	return nil
}
