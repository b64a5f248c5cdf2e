package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sync/semaphore"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// Staged is data files that are written but that no snapshot names yet.
type Staged struct {
	files []*stagedFile
	index *rowkeys.Index // of their rows; nil unless dedup
}

type stagedFile struct {
	data        iceberg.DataFile      // nil while it is being completed, and if that failed
	keys        *rowkeys.File         // of its rows; nil unless dedup
	deletedRows parquetfile.Positions // already, as in files that were on another branch
}

// Completed is data files that are written but that the storage may not have safe yet.
type Completed struct {
	t          *Table
	keep       int64 // rows
	files      []*stagedFile
	index      *rowkeys.Index  // of all rows; nil unless dedup
	completing *errgroup.Group // nil: there are no files
	waiting    *semaphore.Weighted
}

// maxCompleting is how many files of a writer may wait at once until the storage
// has them safe. Many files together take little longer than one.
const maxCompleting = 16

// completeLater completes a file in the background.
func (c *Completed) completeLater(staged *stagedFile, file *parquetfile.Writer, args table.DataFileArgs) {
	c.files = append(c.files, staged)
	if c.completing == nil {
		c.completing, c.waiting = &errgroup.Group{}, semaphore.NewWeighted(c.t.completingBytes)
		c.completing.SetLimit(maxCompleting)
	}
	size := min(file.Bytes(), c.t.completingBytes)
	c.waiting.Acquire(context.Background(), size) //nolint:errcheck // what has that room ends on its own
	c.completing.Go(goroutine.Recovered(func() (err error) {
		defer c.waiting.Release(size)
		staged.data, err = file.Close(args)
		return err
	}))
}

// Wait waits until the storage has all files safe. nil has none.
func (c *Completed) Wait() error {
	if c == nil || c.completing == nil {
		return nil
	}
	return c.completing.Wait()
}

// Staged waits until the storage has the files safe, and returns the rows that
// Complete was to keep; nil if there are none. After an error, Discard deletes them.
func (c *Completed) Staged(ctx context.Context) (*Staged, error) {
	if err := c.t.Explain(errors.Join(c.Wait(), ctx.Err())); err != nil {
		return nil, err
	}
	if err := c.t.Explain(c.truncate(ctx, c.keep)); err != nil {
		return nil, err
	}
	if len(c.files) == 0 {
		return nil, c.t.Explain(c.index.Close())
	}
	return &Staged{files: c.files, index: c.index}, nil
}

// Discard deletes everything.
func (c *Completed) Discard() error {
	_ = c.Wait() // a file that could not be completed has been removed
	files := slices.DeleteFunc(c.files, func(f *stagedFile) bool { return f.data == nil })
	c.files = nil
	return errors.Join(discard(c.t, files), c.index.Close())
}

// discard deletes files that no commit has named.
func discard(t *Table, files []*stagedFile) error {
	paths := make([]string, len(files))
	for i, f := range files {
		paths[i] = f.data.FilePath()
	}
	return t.storage.RemoveAll(paths)
}

// Discard deletes files that were never offered to a commit.
func Discard(t *Table, staged []*Staged) error {
	errs := []error{discard(t, stagedFiles(staged))}
	for _, x := range indexesOf(staged) {
		errs = append(errs, x.Close())
	}
	return errors.Join(errs...)
}

// truncate keeps the first staged rows, in the order in which they were written.
func (c *Completed) truncate(ctx context.Context, rows int64) error {
	files := c.files
	var kept []*stagedFile
	for i, f := range files {
		count := f.data.Count()
		keep := min(rows, count)
		rows -= keep
		if keep == count {
			kept = append(kept, f)
			continue
		}
		if keep > 0 {
			short, err := c.head(ctx, f, keep)
			if err != nil {
				return err
			}
			kept = append(kept, short)
		}
		if keep == 0 && f.keys != nil {
			f.keys.Truncate(0)
		}
		// What is kept so far and what is not looked at yet is Discard's to
		// remove when this fails.
		c.files = slices.Concat(kept, files[i:])
		if err := discard(c.t, []*stagedFile{f}); err != nil {
			return err
		}
	}
	c.files = kept
	return nil
}

// head copies the first rows of a staged file into a new one. One file comes of
// it, because a [snapshots.Rewriter] allows huge values where the staged file does.
func (c *Completed) head(ctx context.Context, f *stagedFile, rows int64) (*stagedFile, error) {
	t := c.t
	deletedRows := parquetfile.NewPositions(f.data.Count())
	for i := rows; i < f.data.Count(); i++ {
		deletedRows.Add(i)
	}
	end, err := t.storage.Memory.Begin(ctx, snapshots.RewriteBytes)
	if err != nil {
		return nil, err
	}
	defer end()
	change := &snapshots.Change{}
	r := t.storage.Rewriter(t.opened.Metadata(), change, parquetfile.OneFile, table.UnsortedSortOrder)
	if err := r.CopyAlone(ctx, f.data, deletedRows); err != nil {
		return nil, err
	}
	if len(change.Add) != 1 {
		return nil, errors.Join(fmt.Errorf("shortening %s: %d files came of it", f.data.FilePath(), len(change.Add)), t.storage.RemoveAll(change.Written))
	}
	if f.keys != nil {
		f.keys.Truncate(rows)
	}
	return &stagedFile{data: change.Add[0], keys: f.keys}, nil
}
