package parquetfile

import (
	"hash/maphash"
	"slices"
	"strings"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/iceberg-go"
)

// An Encoding says how the columns of a file are encoded.
type Encoding struct {
	codec                      compress.Compression
	level                      int      // of the codec
	pageBytes                  int64    // of values, before compression
	rowGroupBytes              int64    // the most that a row group takes in memory
	dictionaries, noStatistics []string // Parquet paths of the columns with a dictionary, and of those without statistics
}

// probeRows is how many values of a column decide whether it has a dictionary: it
// has one if less than a quarter of them are distinct. The library would start a
// dictionary for every column and give it up when it is too big, after hashing
// values for nothing.
const probeRows = 4096

// NewEncoding chooses an encoding by the properties of a table, and by its first rows what
// the properties do not say.
func NewEncoding(rec arrow.RecordBatch, properties iceberg.Properties) *Encoding {
	p := probe{seen: hashes{seed: maphash.MakeSeed()}}
	for i, field := range rec.Schema().Fields() {
		p.column(field.Name, rec.Column(i))
	}
	// zstd 3 makes text 12 % smaller than 1 at the same speed; on numbers it
	// only costs time.
	level := 1
	if p.text*3 > p.bytes*2 {
		level = 3
	}
	e := defaultEncoding(level)
	e.dictionaries = p.dictionaries
	e.use(properties)
	return e
}

// hugeValue is the size from which a value gets no statistics: the library holds
// the least and the greatest value of a column in memory several times over, and
// does not write such long ones.
const hugeValue = 256 << 10

// HasHugeValues reports whether rows need a file without statistics of some
// column.
func HasHugeValues(rec arrow.RecordBatch) bool { return len(hugeColumns(rec)) > 0 }

// hugeColumns are the Parquet paths of the columns that hold huge values.
func hugeColumns(rec arrow.RecordBatch) (paths []string) {
	var look func(string, arrow.Array)
	look = func(path string, a arrow.Array) {
		switch a := a.(type) {
		case *array.Struct:
			for i, field := range a.DataType().(*arrow.StructType).Fields() {
				look(path+"."+field.Name, a.Field(i))
			}
		case array.ListLike:
			look(path+".list.element", a.ListValues())
		case *array.FixedSizeBinary:
			if a.DataType().(*arrow.FixedSizeBinaryType).ByteWidth >= hugeValue {
				paths = append(paths, path)
			}
		case array.BinaryLike:
			if len(a.ValueBytes()) < hugeValue {
				return
			}
			for row := range a.Len() {
				if a.ValueLen(row) >= hugeValue {
					paths = append(paths, path)
					return
				}
			}
		}
	}
	for i, field := range rec.Schema().Fields() {
		look(field.Name, rec.Column(i))
	}
	return paths
}

// WithoutStatistics is the encoding for a file that may hold huge values in some
// columns, by their Parquet paths.
func (e *Encoding) WithoutStatistics(columns []string) *Encoding {
	without := *e
	without.noStatistics = slices.Concat(e.noStatistics, columns)
	return &without
}

// allowsHuge reports whether huge values in these columns may be written.
func (e *Encoding) allowsHuge(huge []string) bool {
	return !slices.ContainsFunc(huge, func(path string) bool { return !slices.Contains(e.noStatistics, path) })
}

// PositionDeleteEncoding is that of position delete files, which name one data
// file in every row.
func PositionDeleteEncoding() *Encoding {
	e := defaultEncoding(1)
	e.dictionaries = []string{iceberg.PositionalDeleteSchema.Field(0).Name}
	return e
}

func (e *Encoding) properties() *parquet.WriterProperties {
	properties := []parquet.WriterProperty{
		parquet.WithVersion(parquet.V2_LATEST),
		parquet.WithDataPageVersion(parquet.DataPageV1), // readers of version 2 are fewer
		parquet.WithMaxRowGroupLength(1 << 30),          // what is written at once is a row group
		parquet.WithCompression(e.codec),
		parquet.WithCompressionLevel(e.level),
		parquet.WithDataPageSize(e.pageBytes),
		parquet.WithDictionaryDefault(false),
		parquet.WithStats(true),
		// A chunk without a least or greatest value would make the bounds of the file too
		// narrow: see columnchunk. Columns with longer values have no statistics.
		parquet.WithMaxStatsSize(hugeValue),
		parquet.WithCreatedBy("whoop-iceberg"),
	}
	for _, path := range e.dictionaries {
		properties = append(properties, parquet.WithDictionaryFor(path, true))
	}
	for _, path := range e.noStatistics {
		properties = append(properties, parquet.WithStatsFor(path, false))
	}
	return parquet.NewWriterProperties(properties...)
}

type probe struct {
	dictionaries []string // Parquet paths of the columns that get one
	text, bytes  int64    // size of strings, and of everything
	seen         hashes
}

func (p *probe) column(path string, a arrow.Array) {
	switch a := a.(type) {
	case *array.Struct:
		fields := a.DataType().(*arrow.StructType).Fields()
		for i, field := range fields {
			p.column(path+"."+field.Name, a.Field(i))
		}
		return
	case array.ListLike:
		p.column(path+".list.element", a.ListValues())
		return
	}
	// These are constant within a sync, whatever the first batch holds.
	constant := path == "_airbyte_generation_id" || strings.HasPrefix(path, "_airbyte_meta.")
	if constant || p.lowCardinality(a) {
		p.dictionaries = append(p.dictionaries, path)
	}
	switch a := a.(type) {
	case *array.String:
		if path != "_airbyte_raw_id" {
			p.text += int64(len(a.ValueBytes()))
			p.bytes += int64(len(a.ValueBytes()))
		}
	default:
		if t, ok := a.DataType().(arrow.FixedWidthDataType); ok {
			p.bytes += int64(a.Len()) * int64(t.BitWidth()) / 8
		}
	}
}

func (p *probe) lowCardinality(a arrow.Array) bool {
	n := min(a.Len(), probeRows)
	if a, ok := a.(*array.String); ok {
		return p.seen.few(n, func(i int) uint64 { return maphash.String(p.seen.seed, a.Value(i)) })
	}
	t, ok := a.DataType().(arrow.FixedWidthDataType)
	if !ok || t.BitWidth() < 8 || n == 0 { // a boolean needs no dictionary, and no values may have no buffer
		return false
	}
	width := t.BitWidth() / 8
	data := a.Data().Buffers()[1].Bytes()[a.Data().Offset()*width:]
	return p.seen.few(n, func(i int) uint64 { return maphash.Bytes(p.seen.seed, data[i*width:(i+1)*width]) })
}

// hashes is a set of hashes of values: two values of one hash count as one.
type hashes struct {
	seed  maphash.Seed
	slots [probeRows]uint64 // of which few uses a quarter; 0: free
}

// few reports whether less than a quarter of n values are distinct.
func (h *hashes) few(n int, hash func(int) uint64) bool {
	clear(h.slots[:])
	distinct := 0
	for i := range n {
		v := hash(i) | 1
		slot := v >> 32 % probeRows
		for h.slots[slot] != 0 && h.slots[slot] != v {
			slot = (slot + 1) % probeRows
		}
		if h.slots[slot] == v {
			continue
		}
		h.slots[slot] = v
		if distinct++; distinct*4 >= n {
			return false
		}
	}
	return n > 0
}
