package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// truncate keeps the first staged rows, in the order in which they were written.
func (w *Writer) truncate(ctx context.Context, rows int64) error {
	staged := w.staged
	var kept []*stagedFile
	for i, f := range staged {
		count := f.data.Count()
		keep := min(rows, count)
		rows -= keep
		if keep == count {
			kept = append(kept, f)
			continue
		}
		if keep > 0 {
			short, err := w.head(ctx, f, keep)
			if err != nil {
				return err
			}
			kept = append(kept, short)
		}
		if keep == 0 && f.keys != nil {
			f.keys.Truncate(0)
		}
		// What is kept so far and what is not looked at yet is Abort's to
		// remove when this fails.
		w.staged = slices.Concat(kept, staged[i:])
		if err := discard(w.t, []*stagedFile{f}); err != nil {
			return err
		}
	}
	w.staged = kept
	return nil
}

// head copies the first rows of a staged file into a new one. One file comes of
// it, because a [snapshots.Rewriter] allows huge values where the staged file does.
func (w *Writer) head(ctx context.Context, f *stagedFile, rows int64) (*stagedFile, error) {
	t := w.t
	deletedRows := parquetfile.NewPositions(f.data.Count())
	for i := rows; i < f.data.Count(); i++ {
		deletedRows.Add(i)
	}
	end, err := t.storage.Memory.Begin(ctx, snapshots.RewriteBytes)
	if err != nil {
		return nil, err
	}
	defer end()
	c := &snapshots.Change{}
	r := t.storage.Rewriter(t.opened.Metadata(), c, parquetfile.OneFile, table.UnsortedSortOrder)
	if err := errors.Join(r.Copy(ctx, f.data, deletedRows), r.Close(ctx)); err != nil {
		return nil, errors.Join(err, t.storage.RemoveAll(c.Written))
	}
	if len(c.Add) != 1 {
		return nil, errors.Join(fmt.Errorf("shortening %s: %d files came of it", f.data.FilePath(), len(c.Add)), t.storage.RemoveAll(c.Written))
	}
	if f.keys != nil {
		f.keys.Truncate(rows)
	}
	return &stagedFile{data: c.Add[0], keys: f.keys}, nil
}
