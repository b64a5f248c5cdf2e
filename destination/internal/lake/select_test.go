package lake_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filter"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// selectRows returns the rows of a selection as JSON.
func selectRows(t *testing.T, tbl *table.Table, s inspect.Selection, where, columns string) ([]string, error) {
	t.Helper()
	if where != "" {
		f, err := filter.Parse(where)
		if err != nil {
			return nil, err
		}
		if s.Where, err = f.Bind(tbl.Schema()); err != nil {
			return nil, err
		}
	}
	if columns != "" {
		var err error
		if s.Columns, err = inspect.ParseColumns(columns, tbl.Schema()); err != nil {
			return nil, err
		}
	}
	if s.MaxBytes == 0 {
		s.MaxBytes = 1 << 20
	}
	var rows []string
	for row, err := range inspect.Select(t.Context(), tbl, s) {
		if err != nil {
			return rows, err
		}
		text, err := json.Marshal(row)
		if err != nil {
			t.Fatal(err)
		}
		rows = append(rows, string(text))
	}
	return rows, nil
}

// selected is a table with several files, of which one has deletes and one lacks columns
// that were added later.
func selected(t *testing.T, cat lake.Catalog) *table.Table {
	t.Helper()
	keyed := laketest.Keyed("s")
	tbl := openTable(t, cat, keyed, lake.Options{Upsert: lake.MergeOnRead})
	at := func(v laketest.Version, minute int) map[string]any {
		row := v.Row()
		row["_airbyte_extracted_at"] = fmt.Sprintf("2026-01-31T08:%02d:00Z", minute)
		return row
	}
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0,
		at(laketest.Version{Key: 1, Cursor: 1, V: "a"}, 10), at(laketest.Version{Key: 2, Cursor: 1, V: "b"}, 50), at(laketest.Version{Key: 3, Cursor: 1, V: "c"}, 30)))
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 3,
		at(laketest.Version{Key: 4, Cursor: 1, V: "d"}, 20), at(laketest.Version{Key: 3, Cursor: 2, V: "e"}, 40)))
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 5,
		at(laketest.Version{Key: 5, Cursor: 1, V: "f"}, 5), at(laketest.Version{Key: 6, Cursor: 1, V: "g"}, 5)))
	return laketest.Load(t, tbl)
}

func TestRowsAndColumnsAreSelected(t *testing.T) {
	tbl := selected(t, laketest.OpenCatalog(t, t.TempDir()))
	for _, tt := range []struct {
		selection      inspect.Selection
		where, columns string
		want           []string
		sorted         bool // the order is part of the promise
	}{
		{where: "id >= 3 and id < 6", columns: "id,v", want: []string{`{"id":3,"v":"e"}`, `{"id":4,"v":"d"}`, `{"id":5,"v":"f"}`}},
		{where: "v = c", columns: "id"},
		{where: "v != c and id <= 2", columns: "v", want: []string{`{"v":"a"}`, `{"v":"b"}`}},
		{where: "_airbyte_extracted_at > 2026-01-31T08:40:00Z", columns: "id", want: []string{`{"id":2}`}},
		{where: "_airbyte_meta.sync_id is null", columns: "id , _airbyte_meta.changes", selection: inspect.Selection{Limit: 1}, want: []string{`{"id":1,"_airbyte_meta.changes":null}`}},
		{columns: "id", selection: inspect.Selection{Newest: true, Limit: 3}, sorted: true, want: []string{`{"id":2}`, `{"id":3}`, `{"id":4}`}},
		{columns: "v", selection: inspect.Selection{Newest: true, Limit: 10}, sorted: true, want: []string{`{"v":"b"}`, `{"v":"e"}`, `{"v":"d"}`, `{"v":"a"}`, `{"v":"g"}`, `{"v":"f"}`}},
		{columns: "v", where: "id < 5", selection: inspect.Selection{Newest: true, Limit: 2}, sorted: true, want: []string{`{"v":"b"}`, `{"v":"e"}`}},
		{columns: "v", where: "id > 4", selection: inspect.Selection{Newest: true, Limit: 1}, sorted: true, want: []string{`{"v":"g"}`}},
	} {
		got, err := selectRows(t, tbl, tt.selection, tt.where, tt.columns)
		if !tt.sorted {
			slices.Sort(got)
		}
		if diff := cmp.Diff(tt.want, got); diff != "" || err != nil {
			t.Errorf("%+v %q %q: %v\n%s", tt.selection, tt.where, tt.columns, err, diff)
		}
	}
	for columns, want := range map[string]string{
		"id,vv": "Did you mean v?", "_airbyte_meta.sync": "Did you mean _airbyte_meta.sync_id?", "id,id": "name id twice", `"id`: "cannot be read",
		"id.x": "Column id has no columns in it, so id.x cannot be shown. It is of type long.", "_airbyte_meta.changes.field": "It is of type list", "id,,v": `no column ""`,
	} {
		_, err := selectRows(t, tbl, inspect.Selection{}, "", columns)
		var fault *protocol.Error
		if !errors.As(err, &fault) || fault.Kind != protocol.ConfigError || !strings.Contains(fault.Message, want) {
			t.Errorf("columns %s: %v, want %q", columns, err, want)
		}
	}
}

// Files whose bounds show that they have no such row, or none that is new enough, are not
// opened.
func TestFilesWithoutSelectedRowsAreNotRead(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := selected(t, cat)
	files, err := tbl.FS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	tasks, err := tbl.Scan().PlanFiles(context.WithoutCancel(t.Context()))
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		if task.File.Count() < 3 { // all but the first
			if err := files.Remove(task.File.FilePath()); err != nil {
				t.Fatal(err)
			}
		}
	}
	for _, tt := range []struct {
		selection inspect.Selection
		where     string
	}{
		{where: "id <= 2"}, {where: "v <= b"}, {where: "_airbyte_extracted_at > 2026-01-31T08:40:00Z"}, {selection: inspect.Selection{Newest: true, Limit: 1}},
	} {
		if got, err := selectRows(t, tbl, tt.selection, tt.where, "id"); err != nil || len(got) == 0 {
			t.Errorf("%+v %q: %v, %v", tt.selection, tt.where, got, err)
		}
	}
	if _, err := selectRows(t, tbl, inspect.Selection{Newest: true, Limit: 2}, "", "id"); err == nil {
		t.Error("a file that may have newer rows is not read")
	}
}

// A file may lack columns that were added later, also within an object.
func TestSelectedColumnsThatAFileLacksAreNull(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), planOf("s", optional("id", aLong), optional("o", structOf(100, optional("old", aString)))), lake.Options{})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": int64(1), "o": map[string]any{"old": "x"}}, map[string]any{"id": int64(2)}))
	tx := laketest.Load(t, tbl).NewTransaction()
	if err := tx.UpdateSchema(false, true).AddColumn([]string{"o", "new"}, aString, "", false, nil).AddColumn([]string{"late"}, aString, "", false, nil).Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	for columns, want := range map[string][]string{
		"late": {`{"late":null}`, `{"late":null}`}, "o.new,late": {`{"o.new":null,"late":null}`, `{"o.new":null,"late":null}`},
		"o.new,o.old": {`{"o.new":null,"o.old":"x"}`, `{"o.new":null,"o.old":null}`}, "o": {`{"o":{"old":"x","new":null}}`, `{"o":null}`},
	} {
		got, err := selectRows(t, laketest.Load(t, tbl), inspect.Selection{}, "", columns)
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Errorf("%s: %v\n%s", columns, err, diff)
		}
	}
	if got, err := selectRows(t, laketest.Load(t, tbl), inspect.Selection{}, "o is not null and o.new is null", "id"); err != nil || !slices.Equal(got, []string{`{"id":1}`}) {
		t.Errorf("%v, %v", got, err)
	}
}

// The newest rows must fit into memory, whatever number is asked for.
func TestNewestRowsThatTakeTooMuchMemoryAreRefused(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), planOf("s", optional("v", aString)), lake.Options{})
	var rows []map[string]any
	for range 20 {
		rows = append(rows, map[string]any{"v": strings.Repeat("x", 1<<17)})
	}
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, rows...))
	n := 0
	for _, err := range inspect.Select(t.Context(), laketest.Load(t, tbl), inspect.Selection{Newest: true, Limit: 1000, MaxBytes: 1 << 20}) {
		if n++; err == nil || !strings.Contains(err.Error(), "take more than 1 MiB of memory") {
			t.Fatalf("error %v", err)
		}
	}
	if got, err := selectRows(t, laketest.Load(t, tbl), inspect.Selection{Newest: true, Limit: 3}, "", ""); n != 1 || len(got) != 3 || err != nil {
		t.Errorf("%d errors, then %d rows, %v", n, len(got), err)
	}
}
