package rowkeys

import (
	"fmt"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/zeebo/xxh3"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
)

// Fields are the ids of the columns that decide which of two rows of a key stays,
// NoField where there is none.
type Fields struct {
	Key             []int
	Cursor, Deleted int
}

// NoField is the id of no column.
const NoField = -1

// Columns are the places of keys, cursors and tombstones in record batches of one
// schema.
type Columns struct {
	keys    []int // columns of the key
	cursor  int   // -1: there is none
	deleted int   // -1: there is none
}

// NewColumns finds the columns in a schema.
func NewColumns(f Fields, s *arrow.Schema) (*Columns, error) {
	k := &Columns{cursor: -1, deleted: -1}
	find := func(id int) (int, error) {
		i := parquetfile.IndexByID(s.Fields(), id)
		if i < 0 {
			return -1, fmt.Errorf("the rows have no column with id %d", id)
		}
		return i, nil
	}
	for _, id := range f.Key {
		i, err := find(id)
		if err != nil {
			return nil, err
		}
		k.keys = append(k.keys, i)
	}
	var err error
	if f.Cursor != NoField {
		if k.cursor, err = find(f.Cursor); err != nil {
			return nil, err
		}
	}
	if f.Deleted != NoField {
		if k.deleted, err = find(f.Deleted); err != nil {
			return nil, err
		}
	}
	return k, nil
}

// block indexes the rows of rec. arrivals may be nil.
func (k *Columns) block(rec arrow.RecordBatch, arrivals []uint64) (*block, error) {
	rows := int(rec.NumRows())
	b := &block{
		hashes:   make([]xxh3.Uint128, rows),
		arrivals: append([]uint64(nil), arrivals...), // the caller's is used again
		cursors:  make([]uint64, 0, rows),
		flags:    make([]rowFlag, 0, rows),
	}
	keys := make([]arrow.Array, len(k.keys))
	for i, column := range k.keys {
		keys[i] = rec.Column(column)
	}
	if err := hashKeys(keys, b.hashes); err != nil {
		return nil, err
	}
	var cursors arrow.Array
	if k.cursor >= 0 {
		cursors = rec.Column(k.cursor)
	}
	if err := b.appendCursors(cursors, upTo(rows)); err != nil {
		return nil, err
	}
	if k.deleted >= 0 {
		b.markTombstones(rec.Column(k.deleted))
	}
	for i, order := range b.arrivals {
		if order&columnar.Deletes != 0 { // where there is no column for it, too
			b.flags[i] |= tombstone
			b.arrivals[i] = order &^ columnar.Deletes
		}
	}
	return b, nil
}
