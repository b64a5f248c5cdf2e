// Package rowdelete deletes the rows of a table that a filter matches, in commits that other
// writers do not notice: the state stays, and rows that they add meanwhile do, too.
package rowdelete

import (
	"context"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filter"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A Deletion deletes rows from the branches of a table.
type Deletion struct {
	Table  *lake.Table
	Where  *filter.Filter
	Upsert lake.Upsert // how rows are taken out of files
	// Erase rewrites every file of the branch that holds such a row, also one that was
	// deleted before, and names none of them any more.
	Erase bool
}

// Done says what was deleted from a branch.
type Done struct {
	Rows, Files int64 // Files held the rows
	SnapshotID  int64 // 0: no row matched
}

// Branches are those from which rows are deleted: the one that readers see, and those of
// refreshes under way, whose rows become visible later. With Erase, they are all there are.
func (d Deletion) Branches(tbl *table.Table) []string {
	if !d.Erase {
		return append([]string{table.MainBranch}, lake.RefreshBranches(tbl.Metadata())...)
	}
	var names []string
	for name, ref := range tbl.Metadata().Refs() {
		if ref.SnapshotRefType == table.BranchRef {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// Count counts the rows of a branch that would be deleted.
func (d Deletion) Count(ctx context.Context, base *table.Table, branch string) (Done, error) {
	found, err := d.find(ctx, base, branch, snapshots.Cache{})
	return done(found), d.explain(err)
}

// Delete deletes the rows of a branch in one commit.
func (d Deletion) Delete(ctx context.Context, branch string) (Done, error) {
	var did Done
	cache := snapshots.Cache{}
	committed, err := d.Table.ChangeBranch(ctx, branch, nil, func(ctx context.Context, base *table.Table) (*snapshots.Change, error) {
		c := &snapshots.Change{Operation: table.OpOverwrite, Sequences: map[string]int64{}}
		found, err := d.find(ctx, base, branch, cache)
		if err != nil {
			return c, err
		}
		did = done(found)
		if c.OmitRemoved = d.Erase; d.Erase {
			if err := d.rewriteManifests(c, base.SnapshotByName(branch)); err != nil {
				return c, err
			}
		}
		return c, d.apply(ctx, c, base.Metadata(), found)
	})
	did.SnapshotID = committed.SnapshotID
	return did, d.explain(err)
}

func (d Deletion) explain(err error) error {
	if err == nil {
		return nil
	}
	return d.Table.Explain(fmt.Errorf("deleting rows of table %s: %w", d.Table, err))
}

// matched is a data file with rows that go.
type matched struct {
	*snapshots.LiveFile
	rows    int64                 // that go
	deleted parquetfile.Positions // those, and the ones that were deleted before
}

func done(found []matched) (d Done) {
	for _, f := range found {
		d.Rows += f.rows
		d.Files++
	}
	return d
}

// find finds the files of a branch that hold rows which the filter matches.
func (d Deletion) find(ctx context.Context, base *table.Table, branch string, cache snapshots.Cache) ([]matched, error) {
	where, err := d.Where.Bind(base.Schema())
	if err != nil {
		return nil, err
	}
	tip := base.SnapshotByName(branch)
	set, err := d.Table.Storage().List(tip, cache)
	if err != nil || len(set.Files) == 0 {
		return nil, err
	}
	if set.EqualityDeletes > 0 {
		return nil, protocol.ConfigError.Errorf(nil, "Table %s has equality deletes, which another program wrote. This program cannot delete rows of such a table. Compact it with that program first.", d.Table)
	}
	may := candidates(ctx, base, tip, where)
	var found []matched
	for _, f := range set.Files {
		if may != nil && !may[f.Data.FilePath()] {
			continue
		}
		deleted, err := d.Table.Storage().Deleted(ctx, f, set.SharedDeletes)
		if err != nil {
			return nil, err
		}
		before := deleted.Count()
		matches, err := d.match(ctx, base, f, where, deleted)
		if err != nil {
			return nil, err
		}
		if rows := deleted.Count() - before; rows > 0 || d.Erase && matches {
			found = append(found, matched{f, rows, deleted})
		}
	}
	return found, nil
}

// rewriteManifests has those manifests written again that name files which earlier commits
// removed, with the bounds of their values.
func (d Deletion) rewriteManifests(c *snapshots.Change, tip *table.Snapshot) error {
	if tip == nil {
		return nil
	}
	manifests, err := tip.Manifests(d.Table.Storage().Files)
	if err != nil {
		return err
	}
	for _, m := range manifests {
		if m.DeletedDataFiles() > 0 {
			c.Rewrite(m.FilePath())
		}
	}
	return nil
}

// candidates are the paths of the files that can hold such rows, as the manifests say; nil:
// all can.
func candidates(ctx context.Context, base *table.Table, tip *table.Snapshot, where *filter.Bound) map[string]bool {
	options := []table.ScanOption{table.WithRowFilter(where.Expression())}
	if current := base.CurrentSnapshot(); current == nil || current.SnapshotID != tip.SnapshotID {
		// Of another snapshot, the library takes the columns by their names of that time.
		if tip.SchemaID != nil && *tip.SchemaID != base.Schema().ID {
			return nil
		}
		options = append(options, table.WithSnapshotID(tip.SnapshotID))
	}
	tasks, err := base.Scan(options...).PlanFiles(ctx)
	if err != nil {
		return nil // as for a bound that cannot be read: all files are looked at
	}
	paths := map[string]bool{}
	for _, task := range tasks {
		paths[task.File.FilePath()] = true
	}
	return paths
}

// match adds the rows of a file that the filter matches, and reports whether there are any.
func (d Deletion) match(ctx context.Context, base *table.Table, f *snapshots.LiveFile, where *filter.Bound, into parquetfile.Positions) (matches bool, _ error) {
	storage := d.Table.Storage()
	end, err := storage.Memory.Begin(ctx, 2*parquetfile.PieceBytes)
	if err != nil {
		return false, err
	}
	defer end()
	in, err := parquetfile.Open(storage.Files, f.Data, base.Metadata(), storage.Memory)
	if err != nil {
		return false, err
	}
	defer in.Close()
	columns := in.ColumnsOf(where.FieldIDs())
	if len(columns) == 0 { // the file has none of them; others say how many rows there are
		columns = in.AllColumns()
	}
	if err := in.CheckTimes(columns); err != nil {
		return false, err
	}
	for p, err := range in.Pieces(ctx, columns) {
		if err != nil {
			return false, err
		}
		batch, err := in.Batch(ctx, p, columns)
		if err != nil {
			return false, err
		}
		matcher, err := where.In(batch.Schema())
		if err != nil {
			return false, fmt.Errorf("reading %s: %w", f.Data.FilePath(), err)
		}
		for i := range int(batch.NumRows()) {
			if matcher.Matches(batch, i) {
				matches = true
				into.Add(p.First + int64(i))
			}
		}
	}
	return matches, nil
}

// apply takes the rows out of their files.
func (d Deletion) apply(ctx context.Context, c *snapshots.Change, meta table.Metadata, found []matched) error {
	var bytes int64
	var parts []matched
	for _, f := range found {
		if f.deleted.Count() == f.Data.Count() {
			c.RemoveFile(f.LiveFile)
			continue
		}
		parts = append(parts, f)
		bytes += f.Data.FileSizeBytes()
	}
	storage := d.Table.Storage()
	copies := d.Erase || d.Upsert.Copies(meta.Version(), bytes, 0)
	for _, f := range parts {
		if !copies {
			c.RemoveDeletes(f.LiveFile) // the new delete file takes over what they said
			if err := storage.WriteDeletes(c, meta, f.Data, f.deleted); err != nil {
				return err
			}
			continue
		}
		if err := d.rewrite(ctx, c, meta, f); err != nil {
			return err
		}
	}
	return nil
}

// rewrite replaces a file by one without the rows, which keeps its place in the order of
// arrival.
func (d Deletion) rewrite(ctx context.Context, c *snapshots.Change, meta table.Metadata, f matched) error {
	storage := d.Table.Storage()
	end, err := storage.Memory.Begin(ctx, snapshots.RewriteBytes)
	if err != nil {
		return err
	}
	defer end()
	before := len(c.Add)
	r := storage.Rewriter(meta, c, storage.TargetFileBytes, table.UnsortedSortOrder)
	if err := r.CopyAlone(ctx, f.Data, f.deleted); err != nil {
		return err
	}
	c.RemoveFile(f.LiveFile)
	for _, added := range c.Add[before:] {
		c.Sequences[added.FilePath()] = f.Sequence
	}
	return nil
}
