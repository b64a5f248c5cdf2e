package lake_test

import (
	"encoding/json"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

func TestRowsShowEveryTypeAsJSON(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), planOf("s",
		optional("z", aString), optional("a", aLong), optional("b", iceberg.PrimitiveTypes.Bool), optional("d", aDouble),
		optional("n", iceberg.DecimalTypeOf(38, 9)), optional("day", iceberg.PrimitiveTypes.Date),
		optional("at", iceberg.PrimitiveTypes.TimestampTz), optional("local", iceberg.PrimitiveTypes.Timestamp),
		optional("o", structOf(100, optional("y", aString), optional("x", listOf(110, iceberg.PrimitiveTypes.TimestampTz)))),
	), lake.Options{})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{
		"z": "ü<\"", "a": int64(9007199254740993), "b": true, "d": 0.1, "n": "12345678901234567890.123456789", "day": "2026-11-23",
		"at": "2026-11-23T10:00:00.123456Z", "local": "2026-11-23T10:00:00",
		"o": map[string]any{"y": "y", "x": []any{"1969-12-31T23:59:59.999999Z", nil}},
	}, map[string]any{}))
	laketest.ExpectRows(t, tbl,
		`{"z":"ü\u003c\"","a":9007199254740993,"b":true,"d":0.1,"n":12345678901234567890.123456789,"day":"2026-11-23",`+
			`"at":"2026-11-23T10:00:00.123456Z","local":"2026-11-23T10:00:00","o":{"y":"y","x":["1969-12-31T23:59:59.999999Z",null]}}`,
		`{"z":null,"a":null,"b":null,"d":null,"n":null,"day":null,"at":null,"local":null,"o":null}`)
	for row, err := range inspect.Rows(t.Context(), laketest.Load(t, tbl), 1) {
		if err != nil {
			t.Fatal(err)
		}
		var names []string
		for _, c := range row {
			names = append(names, c.Name)
		}
		if diff := cmp.Diff([]string{
			"z", "a", "b", "d", "n", "day", "at", "local", "o",
			"_airbyte_raw_id", "_airbyte_extracted_at", "_airbyte_meta", "_airbyte_generation_id",
		}, names); diff != "" {
			t.Error(diff)
		}
	}
}

// A limit counts the rows that are seen, not those that are deleted.
func TestRowsStopAtTheLimitAndCanBeLeft(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead})
	var many []map[string]any
	for key := range int64(50) {
		many = append(many, laketest.Version{Key: key, Cursor: 1, V: "x"}.Row())
	}
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, many...))
	for key := range int64(20) {
		many[key] = laketest.Version{Key: key, Cursor: 2, Deleted: true}.Row()
	}
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, many[:20]...))
	for limit, want := range map[int]int{0: 30, 1: 1, 10: 10, 30: 30, 31: 30} {
		n := 0
		for row, err := range inspect.Rows(t.Context(), laketest.Load(t, tbl), limit) {
			if err != nil {
				t.Fatal(err)
			}
			if id := row[0].Value.(json.Number); id == "0" {
				t.Error("a deleted row is shown")
			}
			n++
		}
		if n != want {
			t.Errorf("limit %d: %d rows, want %d", limit, n, want)
		}
	}
	for _, err := range inspect.Rows(t.Context(), laketest.Load(t, tbl), 0) { // who stops early stops the reading
		if err != nil {
			t.Error(err)
		}
		break
	}
}

// A file may have other columns of an object than those that the table has now.
func TestAnObjectIsReadFromAFileWithNoneOfItsFields(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), planOf("s", optional("id", aLong),
		optional("o", structOf(100, optional("old", aString))), optional("l", listOf(110, structOf(120, optional("old", aString))))), lake.Options{})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": int64(1), "o": map[string]any{"old": "x"}, "l": []any{map[string]any{"old": "x"}, nil}},
		map[string]any{"id": int64(2)}))
	tx := laketest.Load(t, tbl).NewTransaction()
	update := tx.UpdateSchema(false, true).RenameColumn([]string{"id"}, "number").
		AddColumn([]string{"o", "new"}, aString, "", false, nil).DeleteColumn([]string{"o", "old"}).
		AddColumn([]string{"l", "element", "new"}, aString, "", false, nil).DeleteColumn([]string{"l", "element", "old"})
	if err := update.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, `{"number":1,"o":{"new":null},"l":[{"new":null},null]}`, `{"number":2,"o":null,"l":null}`)
}
