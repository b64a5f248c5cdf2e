package parquetfile

import (
	"context"
	"encoding/binary"
	"fmt"
	"iter"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/arrow-go/v18/parquet/schema"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
)

const (
	// PieceBytes is the largest size of a piece in memory, unless one row is
	// larger.
	PieceBytes = 32 << 20
	// hugeRowBytes is the largest size of a row.
	hugeRowBytes = 1 << 30
)

// A Piece is rows of a row group that are read at once: all of them, unless they
// might take too much memory. A few bytes of a file that another program wrote can
// become gigabytes, because values that repeat are stored once.
type Piece struct {
	First int64 // row, in the file
	Rows  int64

	group  int
	offset int64 // of the first row in the group
	all    bool  // the rows of the group
}

// Pieces divides the row groups of a file for reading some of its columns.
func (r *Reader) Pieces(ctx context.Context, columns []int) iter.Seq2[Piece, error] {
	return r.PiecesOfPart(ctx, 0, 1, columns)
}

// PiecesOfPart divides the row groups of one part of a file, for several readers
// that read a part each.
func (r *Reader) PiecesOfPart(ctx context.Context, part, parts int, columns []int) iter.Seq2[Piece, error] {
	return func(yield func(Piece, error) bool) {
		var first int64
		for group := range r.in.NumRowGroups() {
			rows := r.in.MetaData().RowGroups[group].NumRows
			if group*parts/r.in.NumRowGroups() != part {
				first += rows
				continue
			}
			most, err := r.decodedBytes(group, columns)
			if err == nil && rows > 0 && most/float64(rows) > hugeRowBytes {
				err = fmt.Errorf("reading %s: a row may take %d MiB of memory; rewrite the file with the program that made it", r.path, int64(most/float64(rows))>>20)
			}
			if err != nil {
				yield(Piece{}, err)
				return
			}
			n := rows
			if most > PieceBytes {
				n = max(1, int64(float64(rows)*PieceBytes/most))
			}
			long := rows > 0 && most/float64(rows) > budget.LongRow
			for offset := int64(0); offset < rows; offset += n {
				p := Piece{First: first + offset, Rows: min(n, rows-offset), group: group, offset: offset}
				p.all = p.Rows == rows
				more, err := r.alone(ctx, long, func() bool { return yield(p, nil) })
				if err != nil {
					yield(Piece{}, err)
					return
				}
				if !more {
					return
				}
			}
			first += rows
		}
	}
}

// alone does something with a piece. If its rows are long, no other task holds long
// rows meanwhile.
func (r *Reader) alone(ctx context.Context, long bool, do func() bool) (bool, error) {
	if long && r.memory != nil {
		end, err := r.memory.BeginLong(ctx)
		if err != nil {
			return false, err
		}
		defer end()
	}
	return do(), nil
}

// StoredBytes is about how many bytes some of the rows of a piece take in the
// file before compression.
func (r *Reader) StoredBytes(p Piece, rows int64) int64 {
	group := r.in.MetaData().RowGroups[p.group]
	return group.TotalByteSize * rows / group.NumRows
}

// decodedBytes is the most memory that columns of a row group can take. It is a
// float because a file may claim more than an integer holds.
func (r *Reader) decodedBytes(group int, columns []int) (bytes float64, err error) {
	for _, c := range columns {
		chunk := r.in.MetaData().RowGroups[group].Columns[c].MetaData
		values, stored := float64(chunk.NumValues), float64(chunk.TotalUncompressedSize)
		column, longest := r.in.MetaData().Schema.Column(c), stored
		if column.PhysicalType() == parquet.Types.ByteArray && values*longest > PieceBytes/8 {
			if longest, err = r.longest(group, c, stored); err != nil {
				return 0, err
			}
		}
		bytes += decodedChunk(column, values, stored, longest)
	}
	return bytes, nil
}

// DecodedBytes is the most memory that all rows of the file can take, as far as its
// footer tells. Of a large file that is far too much, because each value of a string
// column counts as if it were as long as the whole column.
func (r *Reader) DecodedBytes() (bytes float64) {
	for _, group := range r.in.MetaData().RowGroups {
		for c, of := range group.Columns {
			stored := float64(of.MetaData.TotalUncompressedSize)
			bytes += decodedChunk(r.in.MetaData().Schema.Column(c), float64(of.MetaData.NumValues), stored, stored)
		}
	}
	return bytes
}

// decodedChunk is the most memory that a column of a row group can take. stored is the
// size of all its values, longest that of the longest that may be stored once for many
// rows.
func decodedChunk(column *schema.Column, values, stored, longest float64) float64 {
	bytes := 16 * values // of a number, or an offset, and of what says where a list begins
	switch column.PhysicalType() {
	case parquet.Types.ByteArray:
		bytes += stored + values*longest
	case parquet.Types.FixedLenByteArray:
		bytes += values * float64(column.TypeLength())
	}
	return bytes
}

// longest is the size of the longest value that may be stored once for many rows, 0
// if there is none. stored is the size of all values.
func (r *Reader) longest(group, column int, stored float64) (float64, error) {
	chunk, err := r.in.RowGroup(group).MetaData().ColumnChunk(column)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", r.path, err)
	}
	if slices.Contains(chunk.Encodings(), parquet.Encodings.DeltaByteArray) { // each value begins as the one before
		return stored, nil
	}
	if !chunk.HasDictionaryPage() && !slices.Contains(chunk.Encodings(), parquet.Encodings.RLEDict) && !slices.Contains(chunk.Encodings(), parquet.Encodings.PlainDict) {
		return 0, nil
	}
	pages, err := r.in.RowGroup(group).GetColumnPageReader(column)
	if err != nil {
		return 0, fmt.Errorf("reading %s: %w", r.path, err)
	}
	defer pages.Close()
	if !pages.Next() {
		return 0, pages.Err()
	}
	dictionary, ok := pages.Page().(*file.DictionaryPage)
	if !ok {
		return 0, nil
	}
	most := uint32(0)
	for values := dictionary.Data(); len(values) >= 4; {
		length := binary.LittleEndian.Uint32(values)
		values = values[4:]
		values = values[min(int(length), len(values)):]
		most = max(most, length)
	}
	return min(float64(most), stored), nil
}

// table decodes columns of a piece.
func (r *Reader) table(ctx context.Context, p Piece, columns []int) (arrow.Table, error) {
	if p.all {
		t, err := r.arrow.RowGroup(p.group).ReadTable(ctx, columns)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", r.path, err)
		}
		return t, nil
	}
	from, err := r.at(ctx, p, columns)
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", r.path, err)
	}
	read := make([]arrow.Column, len(from.readers))
	for i, in := range from.readers {
		values, err := in.NextBatch(p.Rows)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", r.path, err)
		}
		read[i] = *arrow.NewColumn(from.schema.Field(i), values)
	}
	from.offset += p.Rows
	return array.NewTable(from.schema, read, p.Rows), nil
}

// groupReader reads some columns of a row group from a row on.
type groupReader struct {
	group   int
	offset  int64
	readers []*pqarrow.ColumnReader
	schema  *arrow.Schema
}

// at returns a reader at the first row of a piece: the one that has read the piece
// before, or a new one.
func (r *Reader) at(ctx context.Context, p Piece, columns []int) (*groupReader, error) {
	name := fmt.Sprint(columns)
	if from := r.groups[name]; from != nil && from.group == p.group && from.offset == p.offset {
		return from, nil
	}
	from := &groupReader{group: p.group, offset: p.offset}
	var err error
	if from.readers, from.schema, err = r.arrow.GetFieldReaders(ctx, columns, []int{p.group}); err != nil {
		return nil, err
	}
	for _, in := range from.readers {
		if err := in.SeekToRow(p.offset); err != nil {
			return nil, err
		}
	}
	if r.groups == nil {
		r.groups = map[string]*groupReader{}
	}
	r.groups[name] = from
	return from, nil
}
