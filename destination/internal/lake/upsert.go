package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// rewriteLimit is how many bytes of data files Auto rewrites in one commit rather than writing
// position deletes, unless the commit brings more than that in new data.
const rewriteLimit = 256 << 10

// Copies reports whether a commit of newBytes rewrites the rewriteBytes of data files that lose
// some of their rows, rather than give them delete files.
func (u Upsert) Copies(version int, rewriteBytes, newBytes int64) bool {
	switch {
	case version < 2: // has no delete files
		return true
	case u == Auto:
		return rewriteBytes <= max(rewriteLimit, newBytes)
	}
	return u == CopyOnWrite
}

// upsert is a commit of rows that supersede those of their keys.
type upsert struct {
	t         *Table
	branch    string // that the rows go to
	files     []*stagedFile
	resolver  *rowkeys.Resolver // between the rows of all keys
	manifests snapshots.Cache   // that one attempt to commit has read, and the next need not
}

// newUpsert finds the winners among the staged rows. Streams that are not dedup
// have no keys, and all their rows win.
func newUpsert(t *Table, branch string, files []*stagedFile, indexes []*rowkeys.Index) *upsert {
	u := &upsert{t: t, branch: branch, files: files, manifests: snapshots.Cache{}}
	var keys []*rowkeys.File
	for _, f := range files {
		if f.keys != nil {
			keys = append(keys, f.keys)
		}
	}
	u.resolver = rowkeys.NewResolver(t.storage.Scratch(), t.storage.Memory, keys, indexes, branch != table.MainBranch && t.plan.Deleted != "", t.manyHits)
	return u
}

// close removes what was spilled. A scratch file that cannot be removed is only
// in the way, and found with the orphans: it must not fail a commit that has
// landed.
func (u *upsert) close() { _ = u.resolver.Close() }

// stage is what committing the rows does to the table as it is in base.
func (u *upsert) stage(ctx context.Context, base *table.Table) (*snapshots.Change, error) {
	c := &snapshots.Change{Operation: table.OpOverwrite}
	set, err := u.t.storage.List(base.SnapshotByName(u.branch), u.manifests)
	if err != nil {
		return c, err
	}
	if set.EqualityDeletes > 0 {
		return c, equalityDeletesError(u.t)
	}
	if len(set.Files) == 0 {
		c.Operation = table.OpAppend
	}
	outdated, err := u.outdatedFiles(ctx, base, set)
	if err != nil {
		return c, err
	}
	return c, u.apply(ctx, c, base, outdated)
}

// equalityDeletesError refuses a table of whose rows other programs delete some by
// their values.
func equalityDeletesError(t *Table) error {
	return t.errorf(protocol.ConfigError, nil,
		"Table %s has equality deletes, which another program wrote. This program cannot replace rows in such a table. Compact it with that program first.", t)
}

// outdatedFile is a data file of the table with rows that go.
type outdatedFile struct {
	*snapshots.LiveFile
	deletedRows parquetfile.Positions // already, or now
	partition   string
	place       int // how many files of the partition that stay as they are hold older rows
}

// isNeighbourOf reports whether no file between the two, in the order of arrival, stays as it is.
func (o *outdatedFile) isNeighbourOf(other *outdatedFile) bool {
	return o.partition == other.partition && o.place == other.place
}

// outdatedFiles finds the rows of the table that staged rows replace or delete,
// and marks the staged rows that rows of the table supersede.
func (u *upsert) outdatedFiles(ctx context.Context, base *table.Table, set *snapshots.Set) ([]*outdatedFile, error) {
	rowsOf, err := u.supersededRows(ctx, base, set)
	if err != nil {
		return nil, err
	}
	var outdated []*outdatedFile
	staying := map[string]int{} // files by partition
	for _, f := range set.Files {
		rows := rowsOf[f.Data.FilePath()]
		if rows == nil && f.Older != nil {
			if rows, err = u.t.storage.Deleted(ctx, f, set.SharedDeletes); err != nil {
				return nil, err
			}
		}
		partition := snapshots.PartitionOf(f.Data)
		if rows == nil {
			staying[partition]++
			continue
		}
		outdated = append(outdated, &outdatedFile{f, rows, partition, staying[partition]})
	}
	return outdated, nil
}

// supersededRows finds the rows of the table that staged rows supersede, with those of
// their files that were deleted already, by path.
func (u *upsert) supersededRows(ctx context.Context, base *table.Table, set *snapshots.Set) (map[string]parquetfile.Positions, error) {
	if err := u.resolver.Begin(ctx); err != nil {
		return nil, err
	}
	if u.resolver.StagedRows() > 0 && len(set.Files) > 0 {
		finder, err := newKeyFinder(u, base)
		if err != nil {
			return nil, err
		}
		if err := finder.find(ctx, set); err != nil {
			return nil, err
		}
	}
	set.SortByArrival(base.Metadata())
	var files []rowkeys.TableFile
	for _, f := range set.Files {
		if !u.resolver.HasHits(f.Data.FilePath()) {
			continue
		}
		file := rowkeys.TableFile{Path: f.Data.FilePath(), Rows: f.Data.Count()}
		if len(f.Deletes)+len(set.SharedDeletes)+len(f.Older) > 0 {
			var err error
			if file.Deleted, err = u.t.storage.Deleted(ctx, f, set.SharedDeletes); err != nil {
				return nil, err
			}
		}
		files = append(files, file)
	}
	rows, err := u.resolver.Decide(ctx, files)
	if err != nil {
		return nil, fmt.Errorf("comparing keys of table %s: %w", u.t, err)
	}
	return rows, nil
}

// apply adds to c the staged files without the rows that lose, and the
// table's files without those that are outdated.
func (u *upsert) apply(ctx context.Context, c *snapshots.Change, base *table.Table, outdated []*outdatedFile) error {
	version := base.Metadata().Version()
	var partials []partialFile
	var rewriteBytes, stagedBytes int64
	for _, f := range u.files {
		deleted := f.supersededRows()
		stagedBytes += f.data.FileSizeBytes()
		switch {
		case deleted == nil:
			c.Add = append(c.Add, f.data)
		case deleted.Count() == f.data.Count():
			c.SupersededFiles = append(c.SupersededFiles, f.data.FilePath())
		default:
			partials = append(partials, partialFile{f, deleted})
			rewriteBytes += f.data.FileSizeBytes()
		}
	}
	outdated = slices.DeleteFunc(outdated, func(o *outdatedFile) bool {
		if o.deletedRows.Count() < o.Data.Count() {
			rewriteBytes += o.Data.FileSizeBytes()
			return false
		}
		c.RemoveFile(o.LiveFile)
		return true
	})
	if u.t.opts.Upsert.Copies(version, rewriteBytes, stagedBytes) && len(partials)+len(outdated) > 0 {
		return u.copyFiles(ctx, c, base, partials, outdated)
	}
	for _, p := range partials {
		c.Add = append(c.Add, p.staged.data)
		if err := u.t.storage.WriteDeletes(c, base.Metadata(), p.staged.data, p.deletedRows); err != nil {
			return err
		}
	}
	for _, o := range outdated {
		// One delete file per data file: it takes over what the earlier ones
		// of the file said. Some readers fail on several.
		c.RemoveDeletes(o.LiveFile)
		if err := u.t.storage.WriteDeletes(c, base.Metadata(), o.Data, o.deletedRows); err != nil {
			return err
		}
	}
	return nil
}

// partialFile is a staged file with rows that must not become visible.
type partialFile struct {
	staged      *stagedFile
	deletedRows parquetfile.Positions
}

// copyFiles adds copies of the files without the rows that go. Those of the table keep their
// place in the order of arrival, which decides between equal cursors: only neighbours become
// one file, with the sequence number of the youngest.
func (u *upsert) copyFiles(ctx context.Context, c *snapshots.Change, base *table.Table, partials []partialFile, outdated []*outdatedFile) error {
	end, err := u.t.storage.Memory.Begin(ctx, snapshots.RewriteBytes)
	if err != nil {
		return err
	}
	defer end()
	r := u.t.storage.Rewriter(base.Metadata(), c, u.t.storage.TargetFileBytes, table.UnsortedSortOrder)
	snapshots.SortByPartition(partials, func(p partialFile) iceberg.DataFile { return p.staged.data })
	snapshots.SortByPartition(outdated, func(o *outdatedFile) iceberg.DataFile { return o.Data })
	err = func() error {
		for _, p := range partials {
			c.SupersededFiles = append(c.SupersededFiles, p.staged.data.FilePath())
			if err := r.Copy(ctx, p.staged.data, p.deletedRows); err != nil {
				return err
			}
		}
		if err := r.Close(ctx); err != nil {
			return err
		}
		c.Sequences = map[string]int64{}
		added := len(c.Add)
		for i, o := range outdated {
			c.RemoveFile(o.LiveFile)
			if err := r.Copy(ctx, o.Data, o.deletedRows); err != nil {
				return err
			}
			if i+1 < len(outdated) && outdated[i+1].isNeighbourOf(o) {
				continue
			}
			if err := r.Close(ctx); err != nil {
				return err
			}
			for _, f := range c.Add[added:] {
				c.Sequences[f.FilePath()] = o.Sequence
			}
			added = len(c.Add)
		}
		return nil
	}()
	if err != nil {
		return errors.Join(err, r.Abort())
	}
	return nil
}

// supersededRows is the rows of the file that must not become visible, nil if there
// are none.
func (f *stagedFile) supersededRows() parquetfile.Positions {
	deleted := slices.Clone(f.deletedRows)
	if f.keys == nil {
		return deleted
	}
	return f.keys.Superseded(deleted, f.data.Count())
}
