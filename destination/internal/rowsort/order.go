package rowsort

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
)

// An Order says to which partition a row belongs, and its place there. The key of a
// row is bytes that say both: the keys of a partition have the same beginning, and
// the bytes behind it have the order of the rows.
type Order struct {
	partition []orderedField
	ids       []int // of the fields of the spec, one for each of partition
	sort      []orderedField
	sortID    int // of the sort order; 0: none
}

// orderedField is a transform of a column.
type orderedField struct {
	transform  iceberg.Transform
	path       []int // to the column, through structs; nil: the rows have none, so it is null
	descending bool
	nullsLast  bool
}

// NewOrder is the order of a spec and a sort order for rows with such columns,
// which carry field ids. An order that is by something this program cannot
// compute, or by a column that was dropped, is left alone: rows need none.
func NewOrder(spec iceberg.PartitionSpec, order table.SortOrder, rows *arrow.Schema) *Order {
	o := &Order{}
	for _, f := range spec.Fields() {
		if _, void := f.Transform.(iceberg.VoidTransform); void { // a field of format version 1 that was removed
			continue
		}
		o.partition = append(o.partition, orderedField{transform: f.Transform, path: pathTo(rows.Fields(), f.SourceID())})
		o.ids = append(o.ids, f.FieldID)
	}
	for _, f := range order.Fields() {
		if _, unknown := f.Transform.(iceberg.UnknownTransform); unknown || len(f.SourceIDs) != 1 {
			return o
		}
	}
	for _, f := range order.Fields() {
		o.sort = append(o.sort, orderedField{
			transform: f.Transform, path: pathTo(rows.Fields(), f.SourceID()),
			descending: f.Direction == table.SortDESC, nullsLast: f.NullOrder == table.NullsLast,
		})
	}
	o.sortID = order.OrderID()
	return o
}

// pathTo finds the field with an id, through structs.
func pathTo(fields []arrow.Field, id int) []int {
	if i := parquetfile.IndexByID(fields, id); i >= 0 {
		return []int{i}
	}
	for i, f := range fields {
		if s, ok := f.Type.(*arrow.StructType); ok {
			if path := pathTo(s.Fields(), id); path != nil {
				return slices.Insert(path, 0, i)
			}
		}
	}
	return nil
}

// Ordered reports whether there is an order but that of arrival.
func (o *Order) Ordered() bool { return o.partitioned() || o.Sorted() }

// partitioned reports whether rows belong to partitions.
func (o *Order) partitioned() bool { return len(o.partition) > 0 }

// Sorted reports whether rows have an order within their partitions.
func (o *Order) Sorted() bool { return len(o.sort) > 0 }

// SortID is the id of the sort order that rows are in, 0 if they are in none.
func (o *Order) SortID() int { return o.sortID }

// values returns the transformed value of each row.
func (f orderedField) values(rec arrow.RecordBatch) (func(int) iceberg.Optional[iceberg.Literal], error) {
	null := iceberg.Optional[iceberg.Literal]{}
	if f.path == nil {
		return func(int) iceberg.Optional[iceberg.Literal] { return null }, nil
	}
	column := rec.Column(f.path[0])
	var around []arrow.Array
	for _, i := range f.path[1:] {
		around = append(around, column)
		column = column.(*array.Struct).Field(i)
	}
	value, err := literals(column)
	if err != nil {
		return nil, err
	}
	return func(i int) iceberg.Optional[iceberg.Literal] {
		if slices.ContainsFunc(around, func(a arrow.Array) bool { return a.IsNull(i) }) {
			return null
		}
		v := value(i)
		if v == nil {
			return null
		}
		return f.transform.Apply(iceberg.Optional[iceberg.Literal]{Valid: true, Val: v})
	}, nil
}

// Partition is the partition of a row, by the ids of the spec's fields.
func (o *Order) Partition(rec arrow.RecordBatch, row int) (map[int]any, error) {
	values := map[int]any{}
	for i, f := range o.partition {
		value, err := f.values(rec)
		if err != nil {
			return nil, err
		}
		if v := value(row); v.Valid {
			values[o.ids[i]] = v.Val.Any()
		}
	}
	return values, nil
}

// keysOfRows are the keys of rows, one behind the other.
type keysOfRows struct {
	bytes []byte
	ends  []int32 // of each row's, the first being 0
}

func (k *keysOfRows) key(row int) []byte { return k.bytes[k.ends[row]:k.ends[row+1]] }

// keys makes the keys of rows: the length of the partition's part, that part, and
// the part that orders rows in the partition.
func (o *Order) keys(rec arrow.RecordBatch) (*keysOfRows, error) {
	rows := int(rec.NumRows())
	fields := slices.Concat(o.partition, o.sort)
	values := make([]func(int) iceberg.Optional[iceberg.Literal], len(fields))
	for i, f := range fields {
		var err error
		if values[i], err = f.values(rec); err != nil {
			return nil, err
		}
	}
	k := &keysOfRows{ends: make([]int32, 1, rows+1)}
	var part, rest []byte
	for row := range rows {
		part, rest = part[:0], rest[:0]
		for i, f := range fields {
			b := &part
			if i >= len(o.partition) {
				b = &rest
			}
			var err error
			if *b, err = f.append(*b, values[i](row)); err != nil {
				return nil, err
			}
		}
		k.bytes = binary.AppendUvarint(k.bytes, uint64(len(part)))
		k.bytes = append(append(k.bytes, part...), rest...)
		if len(k.bytes) > 1<<31-1 {
			return nil, fmt.Errorf("the values that %d rows are ordered by take more than 2 GiB", rows)
		}
		k.ends = append(k.ends, int32(len(k.bytes)))
	}
	return k, nil
}

// append appends a value with its place among the others, nulls first or last.
func (f orderedField) append(b []byte, v iceberg.Optional[iceberg.Literal]) ([]byte, error) {
	switch {
	case v.Valid:
		b = append(b, 1)
	case f.nullsLast:
		return append(b, 2), nil
	default:
		return append(b, 0), nil
	}
	start := len(b)
	b, err := appendOrdered(b, v.Val)
	if f.descending {
		for i := range b[start:] {
			b[start+i] ^= 0xff
		}
	}
	return b, err
}

// partitionPart is the beginning of a key that is the same in all of a partition.
func partitionPart(key []byte) []byte {
	n, size := binary.Uvarint(key)
	return key[:size+int(n)]
}
