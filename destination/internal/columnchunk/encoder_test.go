package columnchunk

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"math"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/decimal128"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/metadata"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/google/go-cmp/cmp"
)

// allTypes has a column of every type that is supported, required, optional, and in
// structs and lists.
func allTypes() *arrow.Schema {
	single := []arrow.DataType{
		arrow.FixedWidthTypes.Boolean, arrow.PrimitiveTypes.Int32, arrow.PrimitiveTypes.Int64, arrow.PrimitiveTypes.Float32,
		arrow.PrimitiveTypes.Float64, arrow.FixedWidthTypes.Date32, &arrow.TimestampType{Unit: arrow.Microsecond, TimeZone: "UTC"},
		&arrow.TimestampType{Unit: arrow.Microsecond}, arrow.BinaryTypes.String, arrow.BinaryTypes.Binary, &arrow.Decimal128Type{Precision: 38, Scale: 9},
	}
	var fields, members []arrow.Field
	for i, t := range single {
		fields = append(fields,
			arrow.Field{Name: fmt.Sprintf("optional%d", i), Type: t, Nullable: true},
			arrow.Field{Name: fmt.Sprintf("required%d", i), Type: t},
			arrow.Field{Name: fmt.Sprintf("list%d", i), Type: listOf(t), Nullable: true})
		members = append(members, arrow.Field{Name: fmt.Sprintf("m%d", i), Type: t, Nullable: i%3 > 0})
	}
	inner := arrow.StructOf(members...)
	outer := arrow.StructOf(append(members[:3:3], arrow.Field{Name: "inner", Type: inner, Nullable: true}, arrow.Field{Name: "required", Type: inner})...)
	return arrow.NewSchema(append(fields,
		arrow.Field{Name: "struct", Type: outer, Nullable: true},
		arrow.Field{Name: "structs", Type: listOf(outer), Nullable: true},
		arrow.Field{Name: "lists", Type: listOf(listOf(arrow.BinaryTypes.String)), Nullable: true},
		arrow.Field{Name: "of lists", Type: arrow.StructOf(arrow.Field{Name: "l", Type: listOf(inner), Nullable: true}), Nullable: true},
	), nil)
}

func listOf(t arrow.DataType) arrow.DataType {
	return arrow.ListOfField(arrow.Field{Name: "element", Type: t, Nullable: true})
}

// A generator makes random values.
type generator struct {
	*rand.Rand
	nulls, distinct, long int // one in how many is null; how many distinct values; the longest text
}

func (g generator) fill(b array.Builder, nullable bool) {
	if nullable && g.nulls > 0 && g.IntN(g.nulls) == 0 {
		b.AppendNull()
		return
	}
	v := g.Uint64N(uint64(g.distinct))
	spread := v * 0x9e3779b97f4a7c15
	switch b := b.(type) {
	case *array.BooleanBuilder:
		b.Append(v&1 > 0)
	case *array.Int32Builder:
		b.Append(int32(spread))
	case *array.Date32Builder:
		b.Append(arrow.Date32(v))
	case *array.Int64Builder:
		b.Append(int64(spread) >> (v % 64))
	case *array.TimestampBuilder:
		b.Append(arrow.Timestamp(1.7e15 + float64(v)*1000))
	case *array.Float32Builder:
		b.Append(float32(v) - 7)
	case *array.Float64Builder:
		b.Append([]float64{float64(v) / 100, math.NaN(), math.Inf(-1), -float64(v), 0, math.Copysign(0, -1)}[min(v, 5)*(v>>1&1)])
	case *array.StringBuilder:
		b.Append(strings.Repeat("é", int(v)%(g.long+1)) + fmt.Sprint(v))
	case *array.BinaryBuilder:
		b.Append(binary.BigEndian.AppendUint64(nil, spread)[:4+v%2])
	case *array.Decimal128Builder:
		b.Append(decimal128.New(int64(spread)>>20, spread))
	case *array.StructBuilder:
		b.Append(true)
		for i, f := range b.Type().(*arrow.StructType).Fields() {
			g.fill(b.FieldBuilder(i), f.Nullable)
		}
	case *array.ListBuilder:
		b.Append(true)
		for range g.IntN(4) {
			g.fill(b.ValueBuilder(), true)
		}
	default:
		panic(fmt.Sprintf("no values for %T", b))
	}
}

func (g generator) record(schema *arrow.Schema, rows int) arrow.RecordBatch {
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for range rows {
		for i, f := range schema.Fields() {
			g.fill(b.Field(i), f.Nullable)
		}
	}
	return b.NewRecordBatch()
}

func (s Settings) withCodec(codec compress.Compression) Settings {
	s.Codec = codec
	if codec != compress.Codecs.Uncompressed {
		c, err := compress.GetCodec(codec)
		if err != nil {
			panic(err)
		}
		s.Compress = func(dst, page []byte) []byte { return c.EncodeLevel(dst, page, compress.DefaultCompressionLevel) }
	}
	return s
}

// write makes a file of row groups.
func write(t testing.TB, s Settings, schema *arrow.Schema, groups ...arrow.RecordBatch) []byte {
	t.Helper()
	properties := parquet.NewWriterProperties(parquet.WithVersion(parquet.V2_LATEST), parquet.WithCompression(s.Codec))
	columns, err := pqarrow.ToParquet(schema, properties, pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if !Supports(schema.Fields(), columns) {
		t.Fatal("the schema is not supported")
	}
	var out bytes.Buffer
	out.WriteString("PAR1")
	meta := metadata.NewFileMetadataBuilder(columns, properties, nil)
	var e Encoder
	choices := make([]Choice, columns.NumColumns())
	for i, rec := range groups {
		group := meta.AppendRowGroup()
		n, err := e.RowGroup(&out, int64(out.Len()), group, rec, &s, choices)
		if err != nil {
			t.Fatal(err)
		}
		if err := group.Finish(n, int16(i)); err != nil {
			t.Fatal(err)
		}
	}
	footer, err := meta.Finish()
	if err != nil {
		t.Fatal(err)
	}
	n, err := footer.WriteTo(&out, nil)
	if err != nil {
		t.Fatal(err)
	}
	out.Write(binary.LittleEndian.AppendUint32(nil, uint32(n)))
	out.WriteString("PAR1")
	return out.Bytes()
}

// read reads a file with the library.
func read(t testing.TB, parquetFile []byte) (arrow.Table, *metadata.FileMetaData) {
	t.Helper()
	in, err := file.NewParquetReader(bytes.NewReader(parquetFile))
	if err != nil {
		t.Fatal(err)
	}
	r, err := pqarrow.NewFileReader(in, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	table, err := r.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	return table, in.MetaData()
}

// same fails the test unless the file holds the batches.
func same(t testing.TB, parquetFile []byte, schema *arrow.Schema, groups ...arrow.RecordBatch) {
	t.Helper()
	got, _ := read(t, parquetFile)
	want := array.NewTableFromRecords(schema, groups)
	if got.NumRows() != want.NumRows() {
		t.Fatalf("%d rows, want %d", got.NumRows(), want.NumRows())
	}
	for i, f := range schema.Fields() {
		g, err1 := array.Concatenate(got.Column(i).Data().Chunks(), memory.DefaultAllocator)
		w, err2 := array.Concatenate(want.Column(i).Data().Chunks(), memory.DefaultAllocator)
		if err1 != nil || err2 != nil {
			t.Fatal(err1, err2)
		}
		for row := range w.Len() {
			if !equal(g, row, w, row) {
				t.Fatalf("column %s, row %d: %s, want %s", f.Name, row, g.ValueStr(row), w.ValueStr(row))
			}
		}
	}
}

// equal compares two values by the texts of what they are made of, so that NaN equals itself, and 0 is not -0.
func equal(got arrow.Array, i int, want arrow.Array, j int) bool {
	if got.IsNull(i) || want.IsNull(j) {
		return got.IsNull(i) && want.IsNull(j)
	}
	switch want := want.(type) {
	case *array.List:
		got := got.(*array.List)
		i, iEnd := got.ValueOffsets(i)
		j, jEnd := want.ValueOffsets(j)
		for ; i < iEnd && j < jEnd; i, j = i+1, j+1 {
			if !equal(got.ListValues(), int(i), want.ListValues(), int(j)) {
				return false
			}
		}
		return i == iEnd && j == jEnd
	case *array.Struct:
		for f := range want.NumField() {
			if !equal(got.(*array.Struct).Field(f), i, want.Field(f), j) {
				return false
			}
		}
		return true
	}
	return got.ValueStr(i) == want.ValueStr(j)
}

func TestEveryTypeIsRead(t *testing.T) {
	none := func(string) bool { return false }
	all := func(string) bool { return true }
	plain := Settings{PageBytes: 1 << 20, Dictionary: none, NoStatistics: none}
	small := plain
	small.PageBytes = 300
	indexed := small
	indexed.Dictionary = all
	schema := allTypes()
	tests := []struct {
		name     string
		settings Settings
		values   generator
		rows     []int
	}{
		{"nulls", plain.withCodec(compress.Codecs.Zstd), generator{nulls: 4, distinct: 1 << 40, long: 5}, []int{200, 1}},
		{"no nulls", plain.withCodec(compress.Codecs.Snappy), generator{distinct: 1 << 40, long: 5}, []int{200, 70}},
		{"nothing but nulls", plain.withCodec(compress.Codecs.Zstd), generator{nulls: 1, distinct: 1, long: 5}, []int{200, 64, 65}},
		{"few nulls", plain.withCodec(compress.Codecs.Uncompressed), generator{nulls: 200, distinct: 1 << 40, long: 5}, []int{600}},
		{"small pages", small.withCodec(compress.Codecs.Gzip), generator{nulls: 3, distinct: 1 << 40, long: 30}, []int{200, 63}},
		{"one dictionary entry", indexed.withCodec(compress.Codecs.Zstd), generator{nulls: 4, distinct: 1, long: 5}, []int{600, 9}},
		{"few dictionary entries", indexed.withCodec(compress.Codecs.Zstd), generator{nulls: 4, distinct: 20, long: 5}, []int{300}},
		{"many dictionary entries", indexed.withCodec(compress.Codecs.Lz4Raw), generator{distinct: 2000, long: 20}, []int{700}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.values.Rand = rand.New(rand.NewPCG(1, 2))
			var groups []arrow.RecordBatch
			for _, rows := range test.rows {
				groups = append(groups, test.values.record(schema, rows))
			}
			same(t, write(t, test.settings, schema, groups...), schema, groups...)
			// A part of a batch.
			n := groups[0].NumRows()
			part := groups[0].NewSlice(n/3+1, n)
			same(t, write(t, test.settings, schema, part), schema, part)
		})
	}
}

// The statistics are those that the library's writer makes.
func TestStatisticsAreTheLibrarys(t *testing.T) {
	none := func(string) bool { return false }
	schema := allTypes()
	for _, nulls := range []int{0, 1, 3} {
		for _, dictionary := range []bool{false, true} {
			g := generator{Rand: rand.New(rand.NewPCG(1, 2)), nulls: nulls, distinct: 500, long: 3000}
			rec := g.record(schema, 300)
			s := Settings{PageBytes: 1 << 20, Dictionary: func(string) bool { return dictionary }, NoStatistics: none}.withCodec(compress.Codecs.Zstd)
			_, got := read(t, write(t, s, schema, rec))
			var out bytes.Buffer
			w, err := pqarrow.NewFileWriter(schema, &out, parquet.NewWriterProperties(parquet.WithStats(true)), pqarrow.DefaultWriterProps())
			if err != nil {
				t.Fatal(err)
			}
			if err := w.Write(rec); err != nil {
				t.Fatal(err)
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			_, want := read(t, out.Bytes())
			for c := range want.Schema.NumColumns() {
				g, w := got.RowGroups[0].Columns[c].MetaData, want.RowGroups[0].Columns[c].MetaData
				if *w.Statistics.NullCount == w.NumValues {
					w.Statistics.Min, w.Statistics.Max, w.Statistics.MinValue, w.Statistics.MaxValue = nil, nil, nil, nil // the library has some, of no values
				}
				if diff := cmp.Diff(w.Statistics, g.Statistics); diff != "" {
					t.Errorf("column %s, one in %d null: (-want +got)\n%s", want.Schema.Column(c).Path(), nulls, diff)
				}
				if g.NumValues != w.NumValues {
					t.Errorf("column %s, one in %d null: %d entries, want %d", want.Schema.Column(c).Path(), nulls, g.NumValues, w.NumValues)
				}
			}
		}
	}
}

func FuzzRows(f *testing.F) {
	f.Add(uint64(1), uint8(3), uint16(500), uint8(20), uint16(900), false)
	f.Add(uint64(2), uint8(0), uint16(3), uint8(0), uint16(10), true)
	f.Fuzz(func(t *testing.T, seed uint64, nulls uint8, distinct uint16, long uint8, pageBytes uint16, dictionary bool) {
		none := func(string) bool { return false }
		s := Settings{PageBytes: 1 + int(pageBytes), Dictionary: func(string) bool { return dictionary }, NoStatistics: none}.withCodec(compress.Codecs.Zstd)
		g := generator{Rand: rand.New(rand.NewPCG(seed, 2)), nulls: int(nulls), distinct: 1 + int(distinct), long: int(long)}
		schema := allTypes()
		rec := g.record(schema, 1+g.IntN(400))
		same(t, write(t, s, schema, rec), schema, rec)
	})
}
