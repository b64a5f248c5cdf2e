package maintenance

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

const (
	// maxSnapshots is how many snapshots a table keeps at most when some expire, unless
	// KeepSnapshots is more: with those that wait for their batch there are 100. Each of
	// them makes the table's metadata longer, and every commit writes all of it and every
	// reader reads all of it.
	maxSnapshots = 75
	// expireBatch is how many snapshots expire at once after a write.
	expireBatch = 25
)

// expire removes snapshots from the table's metadata, and then the files that
// only those snapshots named.
func (m *maintenance) expire(ctx context.Context, base *table.Table) error {
	count := len(expired(base.Metadata(), m.Options, m.table.ReaderTime()))
	switch {
	case m.DryRun:
		m.did.ExpiredSnapshots = count
		return nil
	case count < expireBatch && !m.Thorough:
		return nil
	}
	before, after, err := m.table.UpdateMetadata(ctx, func(base *table.Table) ([]table.Requirement, []table.Update, error) {
		meta := base.Metadata()
		ids := expired(meta, m.Options, m.table.ReaderTime())
		count = len(ids)
		if count == 0 {
			return nil, nil, nil
		}
		if !gcEnabled(meta) {
			m.did.addNotDone("%d snapshots are not expired, because the table property %s forbids it", len(ids), table.GCEnabledKey)
			return nil, nil, nil
		}
		var reqs []table.Requirement // refs that were not there are the catalog's to look for
		for name, ref := range meta.Refs() {
			reqs = append(reqs, table.AssertRefSnapshotID(name, &ref.SnapshotID))
		}
		updates, err := lake.KeepStates(ctx, base, ids)
		return reqs, append(updates, table.NewRemoveSnapshotsUpdate(ids, false)), err
	})
	if err != nil || after == nil {
		return err
	}
	m.did.ExpiredSnapshots = count
	files, err := m.filesOnlyIn(ctx, before, after)
	if err != nil {
		return fmt.Errorf("looking for what the expired snapshots alone named: %w", err)
	}
	if files, err = m.removable(ctx, files); err != nil {
		return err
	}
	removed, err := m.remove(ctx, files)
	m.did.RemovedFiles += removed
	return err
}

// removable lists which of the files this program made and no other program
// needs. The rest is for whoever made it.
func (m *maintenance) removable(ctx context.Context, files []string) ([]string, error) {
	own := tabledef.PathsOf(m.opened.Location(), m.opened.Metadata())
	all := len(files)
	files = slices.DeleteFunc(files, func(file string) bool { return !filenames.HasMark(file) || !own.Contain(file) })
	if others := all - len(files); others > 0 {
		m.did.addNotDone("%d files that only expired snapshots named stay, because other programs created them or they are outside the table location; maintain --orphans=all removes those below it", others)
	}
	lister, ok := m.storage.Files.(iceio.ListableIO)
	if len(files) == 0 || !ok {
		return files, nil
	}
	found, err := storage.List(ctx, lister, own.Metadata)
	if err != nil {
		return nil, err
	}
	// Commits made while the files were listed are in this table's history.
	base, err := m.load(ctx)
	if err != nil {
		return nil, err
	}
	around, err := m.surroundingsOf(ctx, base, found)
	if err != nil {
		return nil, err
	}
	if around.sharedBecause != "" {
		m.did.addNotDone("%d files that only expired snapshots named are not removed: %s", len(files), around.sharedBecause)
		return nil, nil
	}
	return slices.DeleteFunc(files, func(file string) bool { return around.referencedByOthers[filenames.Plain(file)] }), nil
}

// expired lists the snapshots to expire: those that were superseded long ago, and
// the oldest if there are too many. It keeps the newest, those that a branch or a
// tag names, those that the rules of a branch keep, and those that were current a
// short while ago, because a reader may still use them.
func expired(meta table.Metadata, o Options, readerTime time.Duration) []int64 {
	superseded := supersededAt(meta)
	now := time.Now()
	age := func(s table.Snapshot) time.Duration { return now.Sub(superseded[s.SnapshotID]) }
	kept := map[int64]bool{}
	for _, ref := range meta.Refs() {
		count, maxAge := retention(ref, meta.Properties())
		n := 0
		for s := meta.SnapshotByID(ref.SnapshotID); s != nil; n++ {
			if n > 0 && n >= count && age(*s) >= maxAge {
				break
			}
			kept[s.SnapshotID] = true
			if s.ParentSnapshotID == nil {
				break
			}
			s = meta.SnapshotByID(*s.ParentSnapshotID)
		}
	}
	newest := slices.Clone(meta.Snapshots())
	slices.Reverse(newest)
	slices.SortStableFunc(newest, func(a, b table.Snapshot) int { return -cmp.Compare(a.SequenceNumber, b.SequenceNumber) })
	var ids []int64
	for i, s := range newest {
		if i < max(o.KeepSnapshots, 1) || kept[s.SnapshotID] || age(s) < readerTime {
			continue
		}
		if age(s) >= o.ExpireAfter || i >= maxSnapshots {
			ids = append(ids, s.SnapshotID)
		}
	}
	return ids
}

// retention returns how many snapshots of a branch stay at least, and up to which age all
// of them do. The table's properties say so for branches that have no rules of their own.
func retention(ref table.SnapshotRef, props iceberg.Properties) (count int, maxAge time.Duration) {
	if ref.SnapshotRefType != table.BranchRef {
		return 0, 0
	}
	count, ms := props.GetInt(table.MinSnapshotsToKeepKey, 0), props.GetInt64(table.MaxSnapshotAgeMsKey, 0)
	if ref.MinSnapshotsToKeep != nil {
		count = *ref.MinSnapshotsToKeep
	}
	if ref.MaxSnapshotAgeMs != nil {
		ms = *ref.MaxSnapshotAgeMs
	}
	return count, time.Duration(min(ms, math.MaxInt64/int64(time.Millisecond))) * time.Millisecond
}

// supersededAt returns when each snapshot stopped being the current one of its
// branch, because a reader starts with the current snapshot, however old it is. A
// snapshot that still is current, or never was, counts from when it was made.
func supersededAt(meta table.Metadata) map[int64]time.Time {
	at := map[int64]time.Time{}
	note := func(id, ms int64) {
		if when := time.UnixMilli(ms); when.After(at[id]) {
			at[id] = when
		}
	}
	for _, s := range meta.Snapshots() {
		note(s.SnapshotID, s.TimestampMs)
		if s.ParentSnapshotID != nil {
			note(*s.ParentSnapshotID, s.TimestampMs)
		}
	}
	var current int64
	for entry := range meta.SnapshotLogs() {
		note(current, entry.TimestampMs)
		current = entry.SnapshotID
	}
	return at
}

// filesOnlyIn lists the files that snapshots of before name and none of after
// does, by whatever spelling of its path. Data and delete files come first: if their
// removal is interrupted, the manifests that name the rest are still there.
func (m *maintenance) filesOnlyIn(ctx context.Context, before, after table.Metadata) ([]string, error) {
	var expired []table.Snapshot
	for _, s := range before.Snapshots() {
		if after.SnapshotByID(s.SnapshotID) == nil {
			expired = append(expired, s)
		}
	}
	lists, files := map[string]string{}, map[string]string{} // paths by their plain ones
	manifests := map[string]iceberg.ManifestFile{}           // by the same
	for _, s := range expired {
		lists[filenames.Plain(s.ManifestList)] = s.ManifestList
		of, err := s.Manifests(m.storage.Files)
		if err != nil {
			return nil, err
		}
		for _, manifest := range of {
			manifests[filenames.Plain(manifest.FilePath())] = manifest
		}
	}
	kept := map[string]iceberg.ManifestFile{}
	for _, s := range after.Snapshots() {
		delete(lists, filenames.Plain(s.ManifestList))
		of, err := s.Manifests(m.storage.Files)
		if err != nil {
			return nil, err
		}
		for _, manifest := range of {
			plain := filenames.Plain(manifest.FilePath())
			kept[plain] = manifest
			delete(manifests, plain)
		}
	}
	name := func(path string) { files[filenames.Plain(path)] = path }
	keep := func(path string) { delete(files, filenames.Plain(path)) }
	each := func(manifests map[string]iceberg.ManifestFile, do func(path string)) error {
		for _, manifest := range manifests {
			if err := ctx.Err(); err != nil {
				return err
			}
			for entry, err := range manifest.Entries(m.storage.Files, true) {
				if err != nil {
					return fmt.Errorf("reading %s: %w", manifest.FilePath(), err)
				}
				do(entry.DataFile().FilePath())
			}
		}
		return nil
	}
	if err := each(manifests, name); err != nil {
		return nil, err
	}
	if len(files) > 0 {
		if err := each(kept, keep); err != nil {
			return nil, err
		}
	}
	for s := range before.Statistics() {
		name(s.StatisticsPath)
	}
	for s := range before.PartitionStatistics() {
		name(s.StatisticsPath)
	}
	for s := range after.Statistics() {
		keep(s.StatisticsPath)
	}
	for s := range after.PartitionStatistics() {
		keep(s.StatisticsPath)
	}
	paths := slices.Collect(maps.Values(files))
	for _, manifest := range manifests {
		paths = append(paths, manifest.FilePath())
	}
	paths = slices.AppendSeq(paths, maps.Values(lists))
	return slices.DeleteFunc(paths, func(path string) bool { return strings.TrimSpace(path) == "" }), nil
}
