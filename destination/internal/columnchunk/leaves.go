package columnchunk

import (
	"math/bits"
	"slices"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/schema"
)

// A step is an array on the path to a leaf.
type step struct {
	array    arrow.Array
	nullable bool
}

// isList reports whether the step repeats what is below it.
func (s step) isList() bool {
	_, ok := s.array.(array.ListLike)
	return ok
}

// hasNulls reports whether a step has nulls.
func (s step) hasNulls() bool { return s.nullable && s.array.NullN() > 0 }

// bits returns 64 bits of the null bitmap.
func (s step) bits(at int) uint64 {
	return loadBits(s.array.NullBitmapBytes(), s.array.Data().Offset()+at)
}

// A leaf is a column of values and the levels of its entries.
type leaf struct {
	values  arrow.Array
	entries int

	definition, repetition       levels
	maxDefinition, maxRepetition int

	present   []uint64 // the positions of the values that are stored, from 0 on; nil: all
	count     int      // of the values that are stored
	positions []int32  // of the entries of a list, in the values; nil: each has its own
}

// levels are the levels of entries. Without planes, all are the same.
type levels struct {
	same   int
	planes [][]uint64
}

// Supports reports whether columns can be encoded. Those that cannot are of types that
// only other programs write.
func Supports(fields []arrow.Field, columns *schema.Schema) bool {
	for i := range columns.NumColumns() {
		c := columns.Column(i)
		if c.MaxDefinitionLevel() > maxLevels || c.PhysicalType() == parquet.Types.FixedLenByteArray && c.TypeLength() != decimalWidth {
			return false
		}
	}
	return !slices.ContainsFunc(fields, func(f arrow.Field) bool { return !supports(f.Type) })
}

// maxLevels is the highest definition level.
const maxLevels = 15

func supports(t arrow.DataType) bool {
	switch t := t.(type) {
	case *arrow.BooleanType, *arrow.Int32Type, *arrow.Int64Type, *arrow.Float32Type, *arrow.Float64Type, *arrow.Date32Type,
		*arrow.StringType, *arrow.BinaryType, *arrow.Decimal128Type:
		return true
	case *arrow.TimestampType:
		return t.Unit == arrow.Microsecond
	case *arrow.ListType:
		return supports(t.Elem())
	case *arrow.StructType:
		return t.NumFields() > 0 && !slices.ContainsFunc(t.Fields(), func(f arrow.Field) bool { return !supports(f.Type) })
	}
	return false
}

// eachLeaf visits the leaves of a column in order. above are the steps to it.
func eachLeaf(above []step, field arrow.Field, a arrow.Array, visit func(leaf) error) error {
	steps := append(slices.Clip(above), step{a, field.Nullable})
	switch t := field.Type.(type) {
	case *arrow.StructType:
		for i, f := range t.Fields() {
			if err := eachLeaf(steps, f, a.(*array.Struct).Field(i), visit); err != nil {
				return err
			}
		}
		return nil
	case *arrow.ListType:
		return eachLeaf(steps, t.ElemField(), a.(*array.List).ListValues(), visit)
	}
	if slices.ContainsFunc(steps, step.isList) {
		return visit(repeatedLeaf(steps))
	}
	return visit(plainLeaf(steps))
}

// plainLeaf is a leaf in no list.
func plainLeaf(steps []step) leaf {
	values := steps[len(steps)-1].array
	n := values.Len()
	l := leaf{values: values, entries: n, count: n}
	for _, s := range steps {
		if s.nullable {
			l.maxDefinition++
		}
	}
	l.definition.same = l.maxDefinition
	if !slices.ContainsFunc(steps, step.hasNulls) {
		return l
	}
	l.definition.planes = newPlanes(l.maxDefinition, n)
	l.present, l.count = make([]uint64, wordsFor(n)), 0
	for at := 0; at < n; at += 64 {
		there := firstBits(n - at)
		for _, s := range steps {
			if !s.nullable {
				continue
			}
			if s.hasNulls() {
				there &= s.bits(at)
			}
			carry := there // add one to the levels of those that are there
			for p := range l.definition.planes {
				plane := &l.definition.planes[p][at/64]
				*plane, carry = *plane^carry, *plane&carry
			}
		}
		l.present[at/64] = there
		l.count += bits.OnesCount64(there)
	}
	return l
}

func newPlanes(highest, entries int) [][]uint64 {
	planes := make([][]uint64, bits.Len(uint(highest)))
	for p := range planes {
		planes[p] = make([]uint64, wordsFor(entries))
	}
	return planes
}

// repeatedLeaf is a leaf in lists.
func repeatedLeaf(steps []step) leaf {
	values := steps[len(steps)-1].array
	l := leaf{values: values, present: make([]uint64, wordsFor(values.Len()))}
	for _, s := range steps {
		if s.nullable {
			l.maxDefinition++
		}
		if s.isList() {
			l.maxDefinition++
			l.maxRepetition++
		}
	}
	if rows, level, ok := emptyLists(steps); ok {
		l.entries, l.definition.same = rows, level
		return l
	}
	w := entryWriter{leaf: &l, steps: steps}
	for row := range steps[0].array.Len() {
		w.enter(0, row, 0, 0, 0)
	}
	l.entries = len(w.definition)
	l.definition.planes, l.repetition.planes = newPlanes(l.maxDefinition, l.entries), newPlanes(l.maxRepetition, l.entries)
	for i := range w.definition {
		setLevel(l.definition.planes, i, w.definition[i])
		setLevel(l.repetition.planes, i, w.repetition[i])
	}
	return l
}

// emptyLists reports whether all rows have the same empty list, and its level.
func emptyLists(steps []step) (rows, level int, ok bool) {
	for _, s := range steps {
		if s.hasNulls() {
			return 0, 0, false
		}
		if s.nullable {
			level++
		}
		if list, ok := s.array.(*array.List); ok {
			rows = list.Len()
			first, _ := list.ValueOffsets(0)
			_, end := list.ValueOffsets(rows - 1)
			return rows, level, first == end
		}
	}
	return 0, 0, false
}

func setLevel(planes [][]uint64, entry int, level uint8) {
	for p := range planes {
		planes[p][entry/64] |= uint64(level>>p&1) << (entry % 64)
	}
}

// An entryWriter finds the entries of a leaf in lists.
type entryWriter struct {
	*leaf
	steps                  []step
	definition, repetition []uint8
}

// enter adds the entries below a value of a step. repetition is the level of the first of
// them, and lists the number of lists above.
func (w *entryWriter) enter(at, position int, definition, repetition, lists uint8) {
	s := w.steps[at]
	if s.nullable {
		if s.array.IsNull(position) {
			w.add(definition, repetition, -1)
			return
		}
		definition++
	}
	list, isList := s.array.(*array.List)
	switch {
	case isList:
		first, end := list.ValueOffsets(position)
		if first == end {
			w.add(definition, repetition, -1)
		}
		for i := first; i < end; i++ {
			if i > first {
				repetition = lists + 1
			}
			w.enter(at+1, int(i), definition+1, repetition, lists+1)
		}
	case at+1 < len(w.steps):
		w.enter(at+1, position, definition, repetition, lists)
	default:
		w.add(definition, repetition, position)
		w.present[position/64] |= 1 << (position % 64)
		w.count++
	}
}

func (w *entryWriter) add(definition, repetition uint8, position int) {
	w.definition, w.repetition = append(w.definition, definition), append(w.repetition, repetition)
	w.positions = append(w.positions, int32(position))
}
