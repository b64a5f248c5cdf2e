package snapshots

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
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// Deleted returns the rows of a data file that are deleted already. shared are
// the position deletes of the snapshot that are of several data files.
func (s *Storage) Deleted(ctx context.Context, f *LiveFile, shared []DeleteFile) (parquetfile.Positions, error) {
	rows := parquetfile.NewPositions(f.Data.Count())
	copy(rows, f.Older)
	for _, d := range slices.Concat(f.Deletes, shared) {
		if d.Sequence < f.Sequence {
			continue
		}
		if err := ReadDeletes(ctx, s.Files, s.Memory, d.Data, f.Data.FilePath(), rows); err != nil {
			return nil, err
		}
	}
	return rows, nil
}

// ReadDeletes adds to a set the rows of the data file at path that a delete file
// names. The memory for reading is limited unless it is nil.
func ReadDeletes(ctx context.Context, files iceio.IO, limited *budget.Memory, d iceberg.DataFile, path string, into parquetfile.Positions) error {
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
	r, err := parquetfile.Open(files, d, nil, limited)
	if err != nil {
		return err
	}
	defer r.Close()
	columns, missing := r.Columns([]iceberg.NestedField{deletePathField, deletePosField})
	if missing {
		return fail(fmt.Errorf("it has no columns %s and %s", deletePathField.Name, deletePosField.Name))
	}
	for p, err := range r.Pieces(ctx, columns) {
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

// WriteDeletes adds to a change the delete file of one data file, in the file's
// own partition: position deletes, or from format version 3 on a deletion vector.
func (s *Storage) WriteDeletes(c *Change, meta table.Metadata, of iceberg.DataFile, rows parquetfile.Positions) error {
	spec, err := tabledef.SpecOf(meta, of)
	if err != nil {
		return err
	}
	if meta.Version() >= 3 {
		return s.writeVector(c, spec, of, rows)
	}
	path := of.FilePath()
	file, err := parquetfile.Create(s.Files, s.NewPath(".parquet"), table.PositionalDeleteArrowSchema, parquetfile.PositionDeleteEncoding())
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
	c.Written = append(c.Written, data.FilePath())
	c.Add = append(c.Add, data)
	return nil
}

func (s *Storage) writeVector(c *Change, spec iceberg.PartitionSpec, of iceberg.DataFile, rows parquetfile.Positions) error {
	path := of.FilePath()
	w := dv.NewDVWriter(s.Files, func(int32) *iceberg.PartitionSpec { return &spec })
	var all []int64
	for row := range rows.All() {
		all = append(all, row)
	}
	if err := w.Add(path, all, of.SpecID(), of.Partition()); err != nil {
		return fmt.Errorf("writing deletion vector of %s: %w", path, err)
	}
	location := s.NewPath(".puffin")
	c.Written = append(c.Written, location)
	files, err := w.Flush(context.Background(), location)
	if err != nil {
		return fmt.Errorf("writing deletion vector of %s: %w", path, err)
	}
	c.Add = append(c.Add, files...)
	return nil
}
