package lake

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/iceberg-go"
	"github.com/google/go-cmp/cmp"
	"github.com/zeebo/xxh3"
)

// What a reader of the file alone finds: a row group for each batch, the
// table's field ids at every depth, zstd, and the metrics that planning needs.
func TestDataFilesAreWhatTheManifestSays(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), planOf("s",
		optional("id", aLong), optional("at", iceberg.PrimitiveTypes.TimestampTz),
		optional("o", structOf(100, optional("x", listOf(110, structOf(111, optional("deep", aString))))))), Options{})
	tbl.few = 0
	w := tbl.NewWriter()
	for n := range 3 {
		rows := []map[string]any{}
		for i := range n + 1 {
			rows = append(rows, map[string]any{"id": 10*n + i, "at": "2026-11-23T10:00:00Z", "o": map[string]any{"x": []any{map[string]any{"deep": "d"}}}})
		}
		rows[0]["at"] = nil
		if err := w.Write(t.Context(), batch(t, tbl.schema, rows...), nil); err != nil {
			t.Fatal(err)
		}
	}
	staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if len(staged.files) != 1 {
		t.Fatalf("%d files", len(staged.files))
	}
	data := staged.files[0].data
	in, err := file.OpenParquetFile(pathOf(t, data.FilePath()), false)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if in.NumRowGroups() != 3 || in.NumRows() != 6 || data.Count() != 6 {
		t.Errorf("%d row groups, %d rows, the manifest says %d", in.NumRowGroups(), in.NumRows(), data.Count())
	}
	ids := map[string]int32{}
	for i := range in.MetaData().Schema.NumColumns() {
		c := in.MetaData().Schema.Column(i)
		ids[c.Path()] = c.SchemaNode().FieldID()
		chunk, err := in.MetaData().RowGroup(0).ColumnChunk(i)
		if err != nil {
			t.Fatal(err)
		}
		if chunk.Compression() != compress.Codecs.Zstd {
			t.Errorf("%s is compressed with %s", c.Path(), chunk.Compression())
		}
	}
	for path, name := range map[string]string{
		"id": "id", "at": "at", "o.x.list.element.deep": "o.x.element.deep", "_airbyte_meta.changes.list.element.reason": "_airbyte_meta.changes.element.reason",
	} {
		f, ok := tbl.schema.FindFieldByName(name)
		if !ok || ids[path] != int32(f.ID) {
			t.Errorf("%s has field id %d, the table's is %d", path, ids[path], f.ID)
		}
	}
	id, _ := tbl.schema.FindFieldByName("id")
	at, _ := tbl.schema.FindFieldByName("at")
	low, err := iceberg.LiteralFromBytes(id.Type, data.LowerBoundValues()[id.ID])
	if err != nil {
		t.Fatal(err)
	}
	high, err := iceberg.LiteralFromBytes(id.Type, data.UpperBoundValues()[id.ID])
	if err != nil {
		t.Fatal(err)
	}
	if low.String() != "0" || high.String() != "22" {
		t.Errorf("id is between %s and %s", low, high)
	}
	if n := data.NullValueCounts()[at.ID]; n != 3 {
		t.Errorf("%d nulls", n)
	}
	if want := fmt.Sprint(tbl.locations.NewDataLocation("")); !strings.HasPrefix(data.FilePath(), want) {
		t.Errorf("%s is not under %s", data.FilePath(), want)
	}
	commit(t, tbl, "", staged)
	checkFiles(t, load(t, tbl))
}

func TestFilesAreClosedAtTheTargetSize(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), plain("s"), Options{TargetFileBytes: 3000})
	tbl.few = 0
	w := tbl.NewWriter()
	for n := range 20 {
		if err := w.Write(t.Context(), batch(t, tbl.schema, map[string]any{"id": n, "v": "v"}), nil); err != nil {
			t.Fatal(err)
		}
	}
	s, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.files) < 2 || len(s.files) > 10 {
		t.Errorf("%d files", len(s.files))
	}
	for _, f := range s.files {
		if size := f.data.FileSizeBytes(); size > 10_000 {
			t.Errorf("a file of %d bytes", size)
		}
	}
	commit(t, tbl, "", s)
	if n := len(rows(t, load(t, tbl))); n != 20 {
		t.Errorf("%d rows", n)
	}
}

// Huge values go to a file without statistics of their column, which the
// library would keep several times over.
func TestHugeValuesHaveNoStatistics(t *testing.T) {
	tbl := openTable(t, openCatalog(t, t.TempDir()), planOf("s", optional("small", aString), optional("large", aString)), Options{})
	w := tbl.NewWriter()
	row := func(large string) map[string]any {
		return map[string]any{"small": "s", "large": large, "_airbyte_raw_id": "i"}
	}
	const hugeValue = 256 << 10 // bytes
	huge := strings.Repeat("x", hugeValue)
	for _, large := range []string{"a", huge[1:], huge, "b", huge + "y"} {
		if err := w.Write(t.Context(), batch(t, tbl.schema, row(large)), nil); err != nil {
			t.Fatal(err)
		}
	}
	staged, err := w.Close(t.Context(), nil, nil, 5)
	if err != nil {
		t.Fatal(err)
	}
	large, _ := tbl.schema.FindFieldByName("large")
	small, _ := tbl.schema.FindFieldByName("small")
	var got []string
	for _, f := range staged.files {
		_, ofLarge := f.data.LowerBoundValues()[large.ID]
		_, ofSmall := f.data.LowerBoundValues()[small.ID]
		got = append(got, fmt.Sprint(f.data.Count(), ofSmall, ofLarge))
	}
	if diff := cmp.Diff([]string{"2 true true", "3 true false"}, got); diff != "" {
		t.Errorf("files' rows, bounds of the small and of the large column (-want +got):\n%s", diff)
	}
	commit(t, tbl, "", staged)
	lengths := map[int]int{}
	for r, err := range Rows(t.Context(), load(t, tbl), 0) {
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(r[1].Value.(string))]++
	}
	if diff := cmp.Diff(map[int]int{1: 2, hugeValue - 1: 1, hugeValue: 1, hugeValue + 1: 1}, lengths); diff != "" {
		t.Errorf("lengths (-want +got):\n%s", diff)
	}
}

func TestKeysOfDifferentValuesHaveDifferentHashes(t *testing.T) {
	schema := planOf("s", optional("a", aString), optional("b", aString), optional("n", aLong)).Schema
	rec := batch(t, schema,
		map[string]any{"a": "x", "b": "y"}, map[string]any{"a": "xy", "b": ""}, map[string]any{"a": "", "b": "xy"},
		map[string]any{"a": nil, "b": "xy"}, map[string]any{"a": "xy", "b": nil}, map[string]any{"a": nil, "b": nil},
		map[string]any{"a": "\x00", "b": "\x00"}, map[string]any{"a": "\x00\x00", "b": ""},
		map[string]any{"a": "x", "b": "y", "n": 0}, map[string]any{"a": "x", "b": "y", "n": 1}, map[string]any{"a": "x", "b": "y", "n": 256},
	)
	k := &keyColumns{keys: []int{0, 1, 2}, cursor: -1, deleted: -1}
	b, err := k.block(rec, nil)
	if err != nil {
		t.Fatal(err)
	}
	for i, x := range b.hashes {
		for j, y := range b.hashes[:i] {
			if x == y {
				t.Errorf("rows %d and %d have one hash", i, j)
			}
		}
	}
	// A key is the same whatever the width it was written with.
	narrow := batch(t, planOf("s", optional("k", anInt)).Schema, map[string]any{"k": -7})
	wide := batch(t, planOf("s", optional("k", aLong)).Schema, map[string]any{"k": -7})
	one := &keyColumns{keys: []int{0}, cursor: -1, deleted: -1}
	x, err := one.block(narrow, nil)
	if err != nil {
		t.Fatal(err)
	}
	y, err := one.block(wide, nil)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(x.hashes, y.hashes); diff != "" {
		t.Error(diff)
	}
	if _, err := one.block(batch(t, planOf("s", optional("k", iceberg.PrimitiveTypes.Binary)).Schema, map[string]any{"k": "eA=="}), nil); err == nil || !strings.Contains(err.Error(), "cannot be of type "+arrow.BinaryTypes.Binary.String()) {
		t.Errorf("error %v", err)
	}
}

// Nobody can prepare two keys of one hash, since each process has other hashes.
func TestHashesOfKeysDependOnTheSeed(t *testing.T) {
	rec := batch(t, planOf("s", optional("k", aString)).Schema, map[string]any{"k": "x"}, map[string]any{"k": strings.Repeat("long ", 100)})
	k := &keyColumns{keys: []int{0}, cursor: -1, deleted: -1}
	seen := map[xxh3.Uint128]bool{}
	defer func(seed uint64) { keySeed = seed }(keySeed)
	for range 2 {
		for range 2 { // the same as long as the seed is
			b, err := k.block(rec, nil)
			if err != nil {
				t.Fatal(err)
			}
			for _, hash := range b.hashes {
				seen[hash] = true
			}
		}
		keySeed++
	}
	if len(seen) != 4 {
		t.Errorf("two keys have %d hashes with two seeds", len(seen))
	}
}

func TestBoundsPruneOnlyWhatCannotOverlap(t *testing.T) {
	long := func(v int64) []byte { b, _ := iceberg.NewLiteral(v).MarshalBinary(); return b }
	short := func(v int32) []byte { b, _ := iceberg.NewLiteral(v).MarshalBinary(); return b }
	decimal := iceberg.DecimalTypeOf(38, 9)
	for name, tc := range map[string]struct {
		typ  iceberg.Type
		a, b []byte
		want bool
	}{
		"less":                 {aLong, long(-1), long(0), true},
		"equal":                {aLong, long(5), long(5), false},
		"more":                 {aLong, long(1 << 40), long(2), false},
		"narrow against wide":  {aLong, short(-5), long(-4), true},
		"wide against narrow":  {aLong, long(-4), short(-5), false},
		"no bound":             {aLong, nil, long(1), false},
		"strings":              {aString, []byte("a"), []byte("aa"), true},
		"equal strings":        {aString, []byte("a"), []byte("a"), false},
		"decimals":             {decimal, []byte{0xff}, []byte{0x01, 0x00}, true},
		"decimals, other way":  {decimal, []byte{0x00, 0x80}, []byte{0x7f}, false},
		"negative decimals":    {decimal, []byte{0x80, 0x00}, []byte{0xff}, true},
		"a type with no order": {iceberg.PrimitiveTypes.Bool, []byte{0}, []byte{1}, false},
	} {
		if got := below(tc.typ, tc.a, tc.b); got != tc.want {
			t.Errorf("%s: %v", name, got)
		}
	}
}
