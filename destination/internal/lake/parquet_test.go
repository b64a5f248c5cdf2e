package lake_test

import (
	"fmt"
	"math"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/iceberg-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

// What a reader of the file alone finds: a row group for each batch, the
// table's field ids at every depth, zstd, and the metrics that planning needs.
func TestDataFilesAreWhatTheManifestSays(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), planOf("s",
		optional("id", aLong), optional("at", iceberg.PrimitiveTypes.TimestampTz),
		optional("o", structOf(100, optional("x", listOf(110, structOf(111, optional("deep", aString))))))), lake.Options{})
	tbl.SetMinRowGroupBytes(0)
	w := tbl.NewWriter()
	for n := range 3 {
		rows := []map[string]any{}
		for i := range n + 1 {
			rows = append(rows, map[string]any{"id": 10*n + i, "at": "2026-11-23T10:00:00Z", "o": map[string]any{"x": []any{map[string]any{"deep": "d"}}}})
		}
		rows[0]["at"] = nil
		if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), rows...), nil); err != nil {
			t.Fatal(err)
		}
	}
	staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if len(staged.Files()) != 1 {
		t.Fatalf("%d files", len(staged.Files()))
	}
	data := staged.Files()[0]
	in, err := file.OpenParquetFile(laketest.PathOf(t, data.FilePath()), false)
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
		f, ok := tbl.Opened().Schema().FindFieldByName(name)
		if !ok || ids[path] != int32(f.ID) {
			t.Errorf("%s has field id %d, the table's is %d", path, ids[path], f.ID)
		}
	}
	id, _ := tbl.Opened().Schema().FindFieldByName("id")
	at, _ := tbl.Opened().Schema().FindFieldByName("at")
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
	if want := fmt.Sprint(tbl.Storage().Locations.NewDataLocation("")); !strings.HasPrefix(data.FilePath(), want) {
		t.Errorf("%s is not under %s", data.FilePath(), want)
	}
	laketest.Commit(t, tbl, "", staged)
	laketest.CheckFiles(t, laketest.Load(t, tbl))
}

func TestFilesAreClosedAtTheTargetSize(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{TargetFileBytes: 3000})
	tbl.SetMinRowGroupBytes(0)
	w := tbl.NewWriter()
	for n := range 20 {
		if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), map[string]any{"id": n, "v": "v"}), nil); err != nil {
			t.Fatal(err)
		}
	}
	s, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Files()) < 2 || len(s.Files()) > 10 {
		t.Errorf("%d files", len(s.Files()))
	}
	for _, f := range s.Files() {
		if size := f.FileSizeBytes(); size > 10_000 {
			t.Errorf("a file of %d bytes", size)
		}
	}
	laketest.Commit(t, tbl, "", s)
	if n := len(laketest.Rows(t, laketest.Load(t, tbl))); n != 20 {
		t.Errorf("%d rows", n)
	}
}

// Huge values go to a file without statistics of their column, which the
// library would keep several times over.
func TestHugeValuesHaveNoStatistics(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), planOf("s", optional("small", aString), optional("large", aString)), lake.Options{})
	w := tbl.NewWriter()
	row := func(large string) map[string]any {
		return map[string]any{"small": "s", "large": large, "_airbyte_raw_id": "i"}
	}
	const hugeValue = 256 << 10 // bytes
	huge := strings.Repeat("x", hugeValue)
	for _, large := range []string{"a", huge[1:], huge, "b", huge + "y"} {
		if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), row(large)), nil); err != nil {
			t.Fatal(err)
		}
	}
	staged, err := w.Close(t.Context(), nil, nil, 5)
	if err != nil {
		t.Fatal(err)
	}
	large, _ := tbl.Opened().Schema().FindFieldByName("large")
	small, _ := tbl.Opened().Schema().FindFieldByName("small")
	var got []string
	for _, f := range staged.Files() {
		_, ofLarge := f.LowerBoundValues()[large.ID]
		_, ofSmall := f.LowerBoundValues()[small.ID]
		got = append(got, fmt.Sprint(f.Count(), ofSmall, ofLarge))
	}
	if diff := cmp.Diff([]string{"2 true true", "3 true false"}, got); diff != "" {
		t.Errorf("files' rows, bounds of the small and of the large column (-want +got):\n%s", diff)
	}
	laketest.Commit(t, tbl, "", staged)
	lengths := map[int]int{}
	for r, err := range inspect.Rows(t.Context(), laketest.Load(t, tbl), 0) {
		if err != nil {
			t.Fatal(err)
		}
		lengths[len(r[1].Value.(string))]++
	}
	if diff := cmp.Diff(map[int]int{1: 2, hugeValue - 1: 1, hugeValue: 1, hugeValue + 1: 1}, lengths); diff != "" {
		t.Errorf("lengths (-want +got):\n%s", diff)
	}
}
