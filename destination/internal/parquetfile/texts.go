package parquetfile

import (
	"context"
	"fmt"
	"io"

	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// textsAtOnce is how many values Texts passes on at a time.
const textsAtOnce = 4096

// HasTexts reports whether Texts can read a column of a piece: one of strings outside of lists, of a whole row group.
func (r *Reader) HasTexts(p Piece, column int) bool {
	c := r.in.MetaData().Schema.Column(column)
	_, text := c.LogicalType().(schema.StringLogicalType)
	return p.all && text && c.PhysicalType() == parquet.Types.ByteArray && c.MaxRepetitionLevel() == 0
}

// Texts reads a column of strings of a piece without making an array of them, which a look-up of keys would spend most of its
// time on. It passes the values of consecutive rows to do, with nil for null. They are valid until do returns.
func (r *Reader) Texts(ctx context.Context, p Piece, column int, do func(values []parquet.ByteArray)) error {
	if err := r.texts(ctx, p, column, do); err != nil {
		return fmt.Errorf("reading %s: %w", r.path, err)
	}
	return nil
}

func (r *Reader) texts(ctx context.Context, p Piece, column int, do func(values []parquet.ByteArray)) error {
	reader, err := r.in.RowGroup(p.group).Column(column)
	if err != nil {
		return err
	}
	in, ok := reader.(*file.ByteArrayColumnChunkReader)
	if !ok {
		return fmt.Errorf("column %d is read by a %T", column, reader)
	}
	defer in.Close()
	most := r.in.MetaData().Schema.Column(column).MaxDefinitionLevel()
	values, levels := make([]parquet.ByteArray, textsAtOnce), make([]int16, textsAtOnce)
	for left := p.Rows; left > 0; {
		if err := ctx.Err(); err != nil {
			return err
		}
		rows, n, err := in.ReadBatchInPage(min(left, textsAtOnce), values, levels, nil)
		if err != nil {
			return err
		}
		if rows == 0 || !spread(values[:rows], n, levels, most) {
			return io.ErrUnexpectedEOF
		}
		do(values[:rows])
		left -= rows
	}
	return nil
}

// spread moves n values from the beginning to the rows that have one, which are those whose definition level is the highest.
// It reports whether there is one for each of them.
func spread(values []parquet.ByteArray, n int, levels []int16, most int16) bool {
	for row := len(values) - 1; row >= 0; row-- {
		if most > 0 && levels[row] < most {
			values[row] = nil
			continue
		}
		if n--; n < 0 {
			return false
		}
		if values[row] = values[n]; values[row] == nil {
			values[row] = parquet.ByteArray{} // the library has nil for some empty strings
		}
	}
	return true
}
