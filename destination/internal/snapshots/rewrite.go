package snapshots

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowsort"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

const (
	// RewriteBatchBytes is how many bytes of rows a Rewriter gathers into a row
	// group, so that many small files become few large row groups. In memory
	// they may be twice as many.
	RewriteBatchBytes = 16 << 20
	// RewriteBytes is the memory that rewriting takes: a piece, and a row group
	// before and after it is joined.
	RewriteBytes = 4 * parquetfile.PieceBytes
)

// Rewriter copies data files into new ones, without some of their rows. Rows keep
// the schema that their file was written with, because Iceberg reads columns by
// field id, whatever their names or widths were. They also keep their partition and
// its spec.
type Rewriter struct {
	s     *Storage
	meta  table.Metadata
	c     *Change
	files *parquetfile.RollingWriter
	order table.SortOrder // that the rows are brought into; unsorted: they stay as they are

	of iceberg.DataFile // what was copied last
	// The columns in which files of this program hold huge values, because a file that is
	// copied must not become two when such a value comes late, and those of times that
	// another program wrote in another unit than the table's.
	withoutStatistics []string
	sortOrder         *rowsort.Order  // of the sorter
	sortID            int             // of the order that the rows copied are in, 0: of none
	sorter            *rowsort.Sorter // nil: rows stay as they are
	schema            *arrow.Schema
	pending           []arrow.RecordBatch
	bytes             int64
}

// Rewriter returns a rewriter that adds files of the target size to c. It sorts
// their rows if order is one.
func (s *Storage) Rewriter(meta table.Metadata, c *Change, target int64, order table.SortOrder) *Rewriter {
	r := &Rewriter{s: s, meta: meta, c: c, order: order}
	r.files = s.RollingWriter(target, r.completeFile)
	return r
}

// Copy copies the rows of a data file that are not deleted.
func (r *Rewriter) Copy(ctx context.Context, data iceberg.DataFile, deletedRows parquetfile.Positions) error {
	in, err := parquetfile.Open(r.s.Files, data, r.meta, r.s.Memory)
	if err != nil {
		return err
	}
	defer in.Close()
	columns, schema, err := in.Known()
	if err != nil {
		return err
	}
	if r.of != nil && (!r.schema.Equal(schema) || PartitionOf(r.of) != PartitionOf(data)) {
		if err := r.Close(ctx); err != nil {
			return err
		}
	}
	r.sortID = 0
	if id := data.SortOrderID(); id != nil && r.of == nil {
		r.sortID = *id // rows of two files would be in no order
	}
	if r.of == nil {
		if r.sortOrder = rowsort.NewOrder(iceberg.PartitionSpec{}, r.order, schema); r.sortOrder.Sorted() {
			r.sorter = rowsort.NewSorter(r.s.Scratch(), r.s.Memory, r.sortOrder, schema, false)
		}
	}
	r.of, r.schema = data, schema
	r.withoutStatistics = append(r.withoutStatistics, in.TimesOfOtherUnits(r.meta.CurrentSchema())...)
	if filenames.HasMark(data.FilePath()) {
		r.withoutStatistics = append(r.withoutStatistics, in.ColumnsWithoutStatistics()...)
	}
	var copied int64
	for p, err := range in.Pieces(ctx, columns) {
		if err != nil {
			return err
		}
		rows, err := in.Batch(ctx, p, columns)
		if err != nil {
			return err
		}
		all := rows.NumRows()
		mask := array.NewBooleanBuilder(memory.DefaultAllocator)
		var kept int64
		for i := range all {
			keep := !deletedRows.Has(p.First + i)
			mask.Append(keep)
			if keep {
				kept++
			}
		}
		if kept == 0 {
			continue
		}
		copied += kept
		if kept < all {
			if rows, err = compute.FilterRecordBatch(ctx, rows, mask.NewArray(), compute.DefaultFilterOptions()); err != nil {
				return fmt.Errorf("copying rows of %s: %w", data.FilePath(), err)
			}
		}
		size := max(in.StoredBytes(p, kept), budget.SizeOf(rows)/2)
		if err := r.gather(ctx, rows, size); err != nil {
			return err
		}
	}
	if want := data.Count() - deletedRows.Count(); copied != want {
		return fmt.Errorf("copying rows of %s: it should have %d rows to keep and has %d", data.FilePath(), want, copied)
	}
	return nil
}

// gather collects rows into row groups.
func (r *Rewriter) gather(ctx context.Context, rows arrow.RecordBatch, size int64) error {
	r.pending = append(r.pending, rows)
	if r.bytes += size; r.bytes < RewriteBatchBytes {
		return nil
	}
	group, err := r.gathered()
	if err != nil {
		return err
	}
	if r.sorter != nil {
		return r.sorter.Add(ctx, group, nil)
	}
	return r.group(group, nil)
}

// gathered returns the rows that were gathered, nil if there are none.
func (r *Rewriter) gathered() (arrow.RecordBatch, error) {
	if len(r.pending) == 0 {
		return nil, nil
	}
	group, err := rowsort.Join(r.pending)
	if err != nil {
		return nil, fmt.Errorf("rewriting rows of table %s: %w", r.s.Table, err)
	}
	r.pending, r.bytes = nil, 0
	return group, nil
}

// group writes rows as one row group.
func (r *Rewriter) group(batch arrow.RecordBatch, _ []uint64) error {
	created, err := r.files.Open(batch, r.s.EncodingFor(batch).WithoutStatistics(r.withoutStatistics))
	if err != nil {
		return err
	}
	if created != "" {
		r.c.Written = append(r.c.Written, created)
	}
	return r.files.Write(batch)
}

// completeFile completes the open file.
func (r *Rewriter) completeFile(file *parquetfile.Writer) error {
	schema, err := table.ArrowSchemaToIceberg(r.schema, false, nil)
	if err != nil {
		return fmt.Errorf("rewriting rows of table %s: %w", r.s.Table, err)
	}
	spec, err := tabledef.SpecOf(r.meta, r.of)
	if err != nil {
		return err
	}
	data, err := file.Close(table.DataFileArgs{
		Schema: schema, Spec: spec, PartitionValues: r.of.Partition(), SortOrderID: r.sortID,
		Content: iceberg.EntryContentData, FormatVersion: r.meta.Version(),
	})
	if err != nil {
		return err
	}
	r.c.Add = append(r.c.Add, data)
	return nil
}

// Close writes the remaining rows.
func (r *Rewriter) Close(ctx context.Context) error {
	group, err := r.gathered()
	switch {
	case err != nil:
		return err
	case r.sorter != nil:
		r.sortID = r.sortOrder.SortID()
		if err := r.sorter.Finish(ctx, group, nil, math.MaxInt64, r.group, nil); err != nil {
			return err
		}
	case group != nil:
		if err := r.group(group, nil); err != nil {
			return err
		}
	}
	if err := r.files.Roll(); err != nil {
		return err
	}
	r.of, r.sorter, r.withoutStatistics = nil, nil, nil
	return nil
}

// CopyAlone copies the rows of one data file, which are in files with no others then. If it
// fails, all that was written is removed.
func (r *Rewriter) CopyAlone(ctx context.Context, data iceberg.DataFile, deletedRows parquetfile.Positions) error {
	err := r.Copy(ctx, data, deletedRows)
	if err == nil {
		err = r.Close(ctx)
	}
	if err != nil {
		return errors.Join(err, r.Abort())
	}
	return nil
}

// Abort removes all that was written.
func (r *Rewriter) Abort() error {
	errs := []error{r.files.Abort()}
	if r.sorter != nil {
		errs = append(errs, r.sorter.Abort())
	}
	return errors.Join(append(errs, r.s.RemoveAll(r.c.Written))...)
}

// PartitionOf is different for different partitions, also of different specs.
func PartitionOf(f iceberg.DataFile) string {
	values := f.Partition()
	text := fmt.Appendf(nil, "%d", f.SpecID())
	for _, id := range slices.Sorted(maps.Keys(values)) {
		text = fmt.Appendf(text, " %d=%#v", id, values[id])
	}
	return string(text)
}

// SortByPartition brings files of a partition together.
func SortByPartition[T any](files []T, data func(T) iceberg.DataFile) {
	names := map[iceberg.DataFile]string{}
	for _, f := range files {
		names[data(f)] = PartitionOf(data(f))
	}
	slices.SortStableFunc(files, func(a, b T) int { return strings.Compare(names[data(a)], names[data(b)]) })
}
