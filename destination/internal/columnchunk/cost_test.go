package columnchunk

import (
	"fmt"
	"io"
	"math/rand/v2"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// nights are rows as a source of health data has them, the same ones each time.
func nights(rows int) arrow.RecordBatch {
	optional := func(name string, t arrow.DataType) arrow.Field {
		return arrow.Field{Name: name, Type: t, Nullable: true}
	}
	score := arrow.StructOf(optional("milli", arrow.PrimitiveTypes.Int64), optional("percent", arrow.PrimitiveTypes.Float64), optional("count", arrow.PrimitiveTypes.Int64))
	b := array.NewRecordBuilder(memory.DefaultAllocator, arrow.NewSchema([]arrow.Field{
		{Name: "id", Type: arrow.BinaryTypes.String},
		optional("user", arrow.PrimitiveTypes.Int64), optional("start", &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"}),
		optional("zone", arrow.BinaryTypes.String), optional("nap", arrow.FixedWidthTypes.Boolean), optional("score", score), optional("note", arrow.BinaryTypes.String),
	}, nil))
	random := rand.New(rand.NewPCG(1, 2))
	for i := range rows {
		b.Field(0).(*array.StringBuilder).Append(fmt.Sprintf("%08x-0000-4000-8000-%012x", random.Uint32(), random.Uint64N(1<<48)))
		b.Field(1).(*array.Int64Builder).Append(10_000 + random.Int64N(5_000))
		b.Field(2).(*array.TimestampBuilder).Append(arrow.Timestamp(1_640_000_000_000_000 + random.Int64N(90_000_000_000)*1000))
		b.Field(3).(*array.StringBuilder).Append(fmt.Sprintf("-%02d:00", random.IntN(12)))
		b.Field(4).(*array.BooleanBuilder).Append(i%9 == 0)
		s := b.Field(5).(*array.StructBuilder)
		if s.Append(i%10 > 0); i%10 > 0 {
			s.FieldBuilder(0).(*array.Int64Builder).Append(random.Int64N(30_000_000))
			s.FieldBuilder(1).(*array.Float64Builder).Append(float64(random.IntN(100)))
			s.FieldBuilder(2).(*array.Int64Builder).Append(random.Int64N(20))
		} else {
			s.FieldBuilder(0).AppendNull()
			s.FieldBuilder(1).AppendNull()
			s.FieldBuilder(2).AppendNull()
		}
		b.Field(6).AppendNull()
	}
	return b.NewRecordBatch()
}

// The cost of a fixed input: what it takes in memory and in a file does not depend on the
// machine. Whoever makes it less records the new figures here.
func TestCostOfRows(t *testing.T) {
	const (
		rows         = 20_000
		bytesPerRow  = 26.1
		allocsPerRow = 0.02 // with the race detector, which makes pools forget; 0.015 without
	)
	rec := nights(rows)
	s := Settings{
		PageBytes: 1 << 20, NoStatistics: func(string) bool { return false },
		Dictionary: func(path string) bool { return path == "zone" || path == "score.count" || path == "score.percent" },
	}.withCodec(compress.Codecs.Zstd)
	if got := float64(len(write(t, s, rec.Schema(), rec))) / rows; got > bytesPerRow*1.02 || got < bytesPerRow*0.98 {
		t.Errorf("%.2f bytes per row, recorded are %.2f", got, bytesPerRow)
	}
	columns, err := pqarrow.ToParquet(rec.Schema(), nil, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	var e Encoder
	choices := make([]Choice, columns.NumColumns())
	allocs := testing.AllocsPerRun(3, func() {
		meta := metadata.NewFileMetadataBuilder(columns, parquet.NewWriterProperties(), nil).AppendRowGroup()
		if _, err := e.RowGroup(io.Discard, 0, meta, rec, &s, choices); err != nil {
			t.Error(err)
		}
	})
	if allocs/rows > allocsPerRow {
		t.Errorf("%.4f allocations per row, want at most %.4f", allocs/rows, allocsPerRow)
	}
	t.Logf("%.4f allocations per row", allocs/rows)
}
