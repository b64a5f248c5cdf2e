package lake

import (
	"context"
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/compute"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// rewriteBatchBytes is how many bytes of rows a rewriter gathers into a row
// group, so that many small files become few large row groups.
const rewriteBatchBytes = 16 << 20

// rewriter copies data files into new ones, without some of their rows. Rows
// keep the schema their file was written with: Iceberg reads columns by field
// id, whatever they were called or how wide they were.
type rewriter struct {
	t      *Table
	c      *change
	target int64 // size at which a file is closed

	schema  *arrow.Schema
	pending []arrow.RecordBatch
	bytes   int64
	file    *parquetFile
}

// copy copies the rows of a data file that are not gone.
func (r *rewriter) copy(ctx context.Context, data iceberg.DataFile, gone positions) error {
	in, err := r.t.openParquet(data)
	if err != nil {
		return err
	}
	defer in.close()
	var copied int64
	for group, first := range in.groups() {
		rows, err := in.batch(ctx, group)
		if err != nil {
			return err
		}
		all := rows.NumRows()
		mask := array.NewBooleanBuilder(memory.DefaultAllocator)
		var kept int64
		for i := range all {
			keep := !gone.has(first + i)
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
		size := in.in.MetaData().RowGroups[group].TotalByteSize * kept / all
		if err := r.add(rows, size); err != nil {
			return err
		}
	}
	if want := data.Count() - gone.count(); copied != want {
		return fmt.Errorf("copying rows of %s: it should have %d rows to keep and has %d", data.FilePath(), want, copied)
	}
	return nil
}

func (r *rewriter) add(rows arrow.RecordBatch, size int64) error {
	if r.schema != nil && !r.schema.Equal(rows.Schema()) {
		if err := r.close(); err != nil {
			return err
		}
	}
	r.schema = rows.Schema()
	r.pending = append(r.pending, rows)
	if r.bytes += size; r.bytes >= rewriteBatchBytes {
		return r.flush()
	}
	return nil
}

// flush writes what was gathered as one row group.
func (r *rewriter) flush() error {
	if len(r.pending) == 0 {
		return nil
	}
	columns := make([]arrow.Array, r.schema.NumFields())
	var rows int64
	for i := range columns {
		parts := make([]arrow.Array, len(r.pending))
		for j, p := range r.pending {
			parts[j] = p.Column(i)
		}
		var err error
		if columns[i], err = array.Concatenate(parts, memory.DefaultAllocator); err != nil {
			return fmt.Errorf("rewriting rows of table %s: %w", r.t, err)
		}
		rows = int64(columns[i].Len())
	}
	r.pending, r.bytes = nil, 0
	batch := array.NewRecordBatch(r.schema, columns, rows)
	if r.file == nil {
		var err error
		if r.file, err = r.t.createParquet(r.schema, r.t.encodingFor(batch)); err != nil {
			return err
		}
		r.c.made = append(r.c.made, r.file.path)
	}
	if err := r.file.write(batch); err != nil {
		return err
	}
	if r.file.size() >= r.target {
		return r.finish()
	}
	return nil
}

func (r *rewriter) finish() error {
	schema, err := table.ArrowSchemaToIceberg(r.schema, false, nil)
	if err != nil {
		return fmt.Errorf("rewriting rows of table %s: %w", r.t, err)
	}
	file := r.file
	r.file = nil
	data, err := file.close(table.DataFileArgs{
		Schema: schema, Spec: r.t.spec, Content: iceberg.EntryContentData, FormatVersion: r.t.version,
	})
	if err != nil {
		return err
	}
	r.c.add = append(r.c.add, data)
	return nil
}

// close writes what is left.
func (r *rewriter) close() error {
	if err := r.flush(); err != nil {
		return err
	}
	if r.file == nil {
		return nil
	}
	return r.finish()
}
