package parquetfile

import (
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
)

// BenchmarkNewEncoding chooses the encoding of a new table of 25 columns, of few or many
// distinct values.
func BenchmarkNewEncoding(b *testing.B) {
	r := rand.New(rand.NewPCG(1, 1))
	var fields []arrow.Field
	var columns []arrow.Array
	for i := range 25 {
		name, distinct := strconv.Itoa(i), []int{10, 900, 1 << 30}[i%3]
		if i%5 > 0 {
			numbers := array.NewInt64Builder(memory.DefaultAllocator)
			for range 10_000 {
				numbers.Append(int64(r.IntN(distinct)))
			}
			fields, columns = append(fields, arrow.Field{Name: name, Type: arrow.PrimitiveTypes.Int64}), append(columns, numbers.NewArray())
			continue
		}
		texts := array.NewStringBuilder(memory.DefaultAllocator)
		for range 10_000 {
			texts.Append("value " + strconv.Itoa(r.IntN(distinct)))
		}
		fields, columns = append(fields, arrow.Field{Name: name, Type: arrow.BinaryTypes.String}), append(columns, texts.NewArray())
	}
	rec := array.NewRecordBatch(arrow.NewSchema(fields, nil), columns, 10_000)
	b.ReportAllocs()
	for b.Loop() {
		NewEncoding(rec, nil)
	}
}
