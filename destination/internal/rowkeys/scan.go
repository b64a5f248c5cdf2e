package rowkeys

import (
	"context"
	"fmt"
	"iter"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/iceberg-go"
	"github.com/zeebo/xxh3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
)

// FileColumns are the columns of data files that hold keys, cursors and
// tombstones. There is one cursor or none, and one column of tombstones or none.
type FileColumns struct{ Key, Cursor, Deleted []iceberg.NestedField }

// MissingColumnError is the id of a column that a table needs to tell rows apart
// and does not have.
type MissingColumnError int

func (id MissingColumnError) Error() string {
	return fmt.Sprintf("there is no column with id %d", int(id))
}

// FileColumns finds the columns in a table's schema. A column of tombstones that
// is missing has none.
func (f Fields) FileColumns(schema *iceberg.Schema) (FileColumns, error) {
	var c FileColumns
	for _, id := range f.Key {
		field, ok := schema.FindFieldByID(id)
		if !ok {
			return c, MissingColumnError(id)
		}
		c.Key = append(c.Key, field)
	}
	if f.Cursor != NoField {
		field, ok := schema.FindFieldByID(f.Cursor)
		if !ok {
			return c, MissingColumnError(f.Cursor)
		}
		c.Cursor = []iceberg.NestedField{field}
	}
	if field, ok := schema.FindFieldByID(f.Deleted); ok {
		c.Deleted = []iceberg.NestedField{field}
	}
	return c, nil
}

// AddFile adds all rows of a data file, tombstones too. They arrived in their order,
// the first one as number arrival. Those that are deleted count as superseded.
func (x *Index) AddFile(ctx context.Context, r *parquetfile.Reader, c FileColumns, f *File, arrival uint64) error {
	return c.scan(ctx, r, 0, 1, func(p parquetfile.Piece, hashes []xxh3.Uint128) (*block, iter.Seq[int]) {
		b := &block{hashes: slices.Clone(hashes), arrivals: make([]uint64, len(hashes))}
		for i := range b.arrivals {
			b.arrivals[i] = arrival + uint64(p.First) + uint64(i)
		}
		return b, upTo(len(hashes))
	}, func(p parquetfile.Piece, b *block) error {
		for i := range b.flags {
			if f.deleted.Has(p.First + int64(i)) {
				b.flags[i] |= supersededByStaged
			}
		}
		return x.add(f, b)
	})
}

// Scan looks for staged keys in one part of a data file of the table.
func (c *Resolver) Scan(ctx context.Context, r *parquetfile.Reader, columns FileColumns, path string, part, parts int) error {
	columns.Deleted = nil // rows of the table that are tombstones win and lose as others do
	return columns.scan(ctx, r, part, parts, func(p parquetfile.Piece, hashes []xxh3.Uint128) (*block, iter.Seq[int]) {
		b := &block{}
		rows := c.match(hashes, b)
		if len(rows) == 0 {
			return nil, nil
		}
		for _, i := range rows {
			b.rows = append(b.rows, p.First+int64(i))
		}
		return b, slices.Values(rows)
	}, func(_ parquetfile.Piece, b *block) error { return c.hit(path, b) })
}

// scan reads one part of a file. match chooses rows of a piece by the hashes of
// their keys, and makes a block for them; nil chooses none. take receives the block
// with cursors and tombstones.
func (c FileColumns) scan(
	ctx context.Context, r *parquetfile.Reader, part, parts int,
	match func(parquetfile.Piece, []xxh3.Uint128) (*block, iter.Seq[int]), take func(parquetfile.Piece, *block) error,
) error {
	if err := r.CheckDefaults(slices.Concat(c.Key, c.Cursor, c.Deleted)); err != nil {
		return err
	}
	keys, missing := r.Columns(c.Key)
	if missing {
		return nil // the key is null in every row of the file
	}
	cursor, _ := r.Columns(c.Cursor) // a file may be older than the column
	deleted, _ := r.Columns(c.Deleted)
	column := func(p parquetfile.Piece, columns []int) (arrow.Array, error) {
		if len(columns) == 0 {
			return nil, nil
		}
		got, err := r.Read(ctx, p, columns)
		if err != nil {
			return nil, err
		}
		return got[0], nil
	}
	var hashes []xxh3.Uint128
	for p, err := range r.PiecesOfPart(ctx, part, parts, slices.Concat(keys, cursor, deleted)) {
		if err != nil {
			return err
		}
		if hashes, err = hashPiece(ctx, r, p, keys, hashes[:0]); err != nil {
			return err
		}
		b, rows := match(p, hashes)
		if b == nil {
			continue
		}
		cursors, err := column(p, cursor)
		if err != nil {
			return err
		}
		if err := b.appendCursors(cursors, rows); err != nil {
			return err
		}
		tombstones, err := column(p, deleted)
		if err != nil {
			return err
		}
		if tombstones != nil {
			b.markTombstones(tombstones)
		}
		if err := take(p, b); err != nil {
			return err
		}
	}
	return nil
}

// hashPiece appends the hash of the key of each row of a piece.
func hashPiece(ctx context.Context, r *parquetfile.Reader, p parquetfile.Piece, keys []int, hashes []xxh3.Uint128) ([]xxh3.Uint128, error) {
	if len(keys) == 1 && r.HasTexts(p, keys[0]) {
		err := r.Texts(ctx, p, keys[0], func(values []parquet.ByteArray) { hashes = hashTexts(values, hashes) })
		return hashes, err
	}
	values, err := r.Read(ctx, p, keys)
	if err != nil {
		return nil, err
	}
	hashes = slices.Grow(hashes, values[0].Len())[:values[0].Len()]
	return hashes, hashKeys(values, hashes)
}

// markTombstones marks the rows that have a value in the column of tombstones.
func (b *block) markTombstones(deleted arrow.Array) {
	for i := range b.flags {
		if deleted.IsValid(i) {
			b.flags[i] |= tombstone
		}
	}
}
