package filter_test

import (
	"testing"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filter"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

// A scan with the expression of a filter passes over the files without such rows. It
// cannot read rows: without the descriptions of Substrait's functions the library ends
// with an error, and never with rows that the filter does not match.
func TestTheExpressionOfAFilterPlansAScan(t *testing.T) {
	tbl := laketest.OpenTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s"), lake.Options{})
	for _, ids := range [][]int{{1, 5}, {6, 9}} {
		var rows []map[string]any
		for _, id := range ids {
			rows = append(rows, map[string]any{"id": id, "v": "x"})
		}
		laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, rows...))
	}
	loaded := laketest.Load(t, tbl)
	for text, files := range map[string]int{
		"id = 5": 1, "id >= 6": 1, "id != 1": 2, "id > 9": 0, "id is null": 0, "id is not null": 2, "id = 5 and v = x": 1, "id < 7 and v > x": 0,
	} {
		f, err := filter.Parse(text)
		if err != nil {
			t.Fatal(err)
		}
		b, err := f.Bind(loaded.Schema())
		if err != nil {
			t.Fatal(err)
		}
		scan := loaded.Scan(table.WithRowFilter(b.Expression()))
		planned, err := scan.PlanFiles(t.Context())
		if err != nil || len(planned) != files {
			t.Errorf("%s: %d files, error %v; want %d", text, len(planned), err, files)
		}
		_, records, err := scan.ToArrowRecords(t.Context())
		if err == nil {
			for rec, e := range records {
				if e != nil {
					err = e
					break
				}
				t.Errorf("%s: %v", text, rec)
			}
		}
		if (err != nil) != (files > 0) {
			t.Errorf("%s: reading rows ends with the error %v", text, err)
		}
	}
}
