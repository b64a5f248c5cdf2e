package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/apache/iceberg-go/table/dv"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// deleted returns the rows of a data file that are deleted already.
func (t *Table) deleted(ctx context.Context, f *liveFile, shared []deleteFile) (parquetfile.Positions, error) {
	rows := parquetfile.NewPositions(f.data.Count())
	copy(rows, f.older)
	for _, d := range slices.Concat(f.deletes, shared) {
		if d.sequence < f.sequence {
			continue
		}
		if err := readDeletes(ctx, t.files, t.opts.Memory, d.data, f.data.FilePath(), rows); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// readDeletes adds the rows of one data file that a delete file names.
func readDeletes(ctx context.Context, files iceio.IO, pieces *budget.Memory, d iceberg.DataFile, path string, into parquetfile.Positions) error {
	fail := func(err error) error { return fmt.Errorf("reading delete file %s: %w", d.FilePath(), err) }
	limit := int64(len(into)) * 64
	if table.IsDeletionVector(d) {
		vector, err := dv.ReadDV(files, d)
		if err != nil {
			return fail(err)
		}
		for pos := range vector.Positions() {
			if int64(pos) >= limit {
				return fail(fmt.Errorf("row %d is beyond the end of %s", pos, path))
			}
			into.Add(int64(pos))
		}
		return nil
	}
	r, err := parquetfile.Open(files, d, pieces)
	if err != nil {
		return err
	}
	defer r.Close()
	columns, missing := r.Columns([]iceberg.NestedField{deletePathField, deletePosField})
	if missing {
		return fail(fmt.Errorf("it has no columns %s and %s", deletePathField.Name, deletePosField.Name))
	}
	for p, err := range r.Pieces(columns) {
		if err != nil {
			return err
		}
		got, err := r.Read(ctx, p, columns)
		if err != nil {
			return err
		}
		paths, ok := got[0].(*array.String)
		rows, ok2 := got[1].(*array.Int64)
		if !ok || !ok2 {
			return fail(fmt.Errorf("its columns are %s and %s", got[0].DataType(), got[1].DataType()))
		}
		for i := range rows.Len() {
			if paths.Value(i) != path {
				continue
			}
			if rows.Value(i) < 0 || rows.Value(i) >= limit {
				return fail(fmt.Errorf("row %d is beyond the end of %s", rows.Value(i), path))
			}
			into.Add(rows.Value(i))
		}
	}
	return nil
}

var (
	deletePathField = iceberg.PositionalDeleteSchema.Field(0)
	deletePosField  = iceberg.PositionalDeleteSchema.Field(1)
)

// deleteRows is how many rows go into a row group of a delete file.
const deleteRows = 1 << 18

// writeDeletes writes the delete file of one data file, into the file's own
// partition: position deletes, or from format version 3 on a deletion vector.
func (t *Table) writeDeletes(c *change, meta table.Metadata, of iceberg.DataFile, rows parquetfile.Positions) error {
	spec, err := tabledef.SpecOf(meta, of)
	if err != nil {
		return err
	}
	if meta.Version() >= 3 {
		return t.writeVector(c, spec, of, rows)
	}
	path := of.FilePath()
	file, err := parquetfile.Create(t.files, t.newDataPath(), table.PositionalDeleteArrowSchema, parquetfile.PositionDeleteEncoding())
	if err != nil {
		return err
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, table.PositionalDeleteArrowSchema)
	defer b.Release()
	flush := func() error {
		rec := b.NewRecordBatch()
		defer rec.Release()
		return file.Write(rec)
	}
	n := 0
	for row := range rows.All() {
		b.Field(0).(*array.StringBuilder).Append(path)
		b.Field(1).(*array.Int64Builder).Append(row)
		if n++; n%deleteRows == 0 {
			if err = flush(); err != nil {
				break
			}
		}
	}
	if err == nil && n%deleteRows != 0 {
		err = flush()
	}
	if err != nil {
		return errors.Join(err, file.Abort())
	}
	data, err := file.Close(table.DataFileArgs{
		Schema: iceberg.PositionalDeleteSchema, Spec: spec, PartitionValues: of.Partition(), FormatVersion: meta.Version(),
		Content: iceberg.EntryContentPosDeletes, ReferencedDataFile: &path,
	})
	if err != nil {
		return err
	}
	c.made = append(c.made, data.FilePath())
	c.add = append(c.add, data)
	return nil
}

func (t *Table) writeVector(c *change, spec iceberg.PartitionSpec, of iceberg.DataFile, rows parquetfile.Positions) error {
	path := of.FilePath()
	w := dv.NewDVWriter(t.files, func(int32) *iceberg.PartitionSpec { return &spec })
	var all []int64
	for row := range rows.All() {
		all = append(all, row)
	}
	if err := w.Add(path, all, of.SpecID(), of.Partition()); err != nil {
		return fmt.Errorf("writing deletion vector of %s: %w", path, err)
	}
	location := t.locations.NewDataLocation(filenames.New(".puffin"))
	c.made = append(c.made, location)
	files, err := w.Flush(context.Background(), location)
	if err != nil {
		return fmt.Errorf("writing deletion vector of %s: %w", path, err)
	}
	c.add = append(c.add, files...)
	return nil
}
