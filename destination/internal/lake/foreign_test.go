package lake_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Rows that another program deleted stay deleted, in whatever way the file
// they are in is touched.
func TestDeletesOfOtherProgramsStayInForce(t *testing.T) {
	old := func(key int64) string { return laketest.Version{Key: key, Cursor: 1, V: "old"}.JSON() }
	made := func(key int64) laketest.Version { return laketest.Version{Key: key, Cursor: 2, V: "new"} }
	for name, tc := range map[string]struct {
		options lake.Options
		deletes func(t *testing.T, tbl *lake.Table, files []*snapshots.LiveFile) []iceberg.DataFile // of keys 1 and 4
	}{
		"position deletes of two files in one": {lake.Options{Upsert: lake.MergeOnRead}, laketest.SharedDeletes},
		"the same, copied":                     {lake.Options{Upsert: lake.CopyOnWrite}, laketest.SharedDeletes},
		"deletion vectors of two files in one": {lake.Options{Upsert: lake.MergeOnRead, FormatVersion: 3}, laketest.SharedVectors},
		"the same vectors, copied":             {lake.Options{Upsert: lake.CopyOnWrite, FormatVersion: 3}, laketest.SharedVectors},
	} {
		t.Run(name, func(t *testing.T) {
			tbl, files := laketest.TwoFiles(t, tc.options)
			laketest.AddDeletes(t, tbl, tc.deletes(t, tbl, files)...)
			want := func(rows ...string) {
				t.Helper()
				got := laketest.RowsOf(t, tbl)
				if strings.Join(got, "\n") != strings.Join(rows, "\n") {
					t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(rows, "\n"))
				}
			}
			want(old(2), old(3), old(5), old(6))
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, made(2).Row()))
			want(made(2).JSON(), old(3), old(5), old(6))
			// A deleted row beats nothing: this one is back.
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 4, Cursor: 0, V: "new"}.Row()))
			want(made(2).JSON(), old(3), laketest.Version{Key: 4, Cursor: 0, V: "new"}.JSON(), old(5), old(6))
			if _, err := tbl.Replace(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, made(9).Row())}, nil); err != nil {
				t.Fatal(err)
			}
			want(made(9).JSON())
			laketest.CheckFiles(t, laketest.Load(t, tbl))
		})
	}
}

// Equality deletes cannot be told row by row: rewriting a file they apply to
// would bring rows back.
func TestEqualityDeletesOfOtherProgramsAreRefused(t *testing.T) {
	tbl, _ := laketest.TwoFiles(t, lake.Options{})
	laketest.AddEqualityDelete(t, tbl, 1)
	staged := laketest.Stage(t, tbl, 0, laketest.Version{Key: 2, Cursor: 2, V: "new"}.Row())
	_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, nil)
	var userError *protocol.Error
	if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, "has equality deletes") {
		t.Errorf("error %v", err)
	}
	info, err := inspect.Describe(t.Context(), laketest.Load(t, tbl))
	if err != nil || info.EqualityDeletes != 1 || info.DataFiles != 2 {
		t.Errorf("%+v, %v", info, err)
	}
	// A refresh is rid of them.
	if _, err := tbl.Replace(t.Context(), []*lake.Staged{laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 1, V: "x"}.Row())}, nil); err != nil {
		t.Fatal(err)
	}
	laketest.ExpectRows(t, tbl, laketest.Version{Key: 1, Cursor: 1, V: "x"}.JSON())
}

// In format version 3, rows of a file without a column have the column's default there. Their
// keys and cursors are then others than those that the file holds.
func TestRowsWithADefaultInTheirKeyOrCursorAreRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		key    []string
		cursor string
		ends   bool
	}{
		"key":     {[]string{"id", "region"}, "", true},
		"cursor":  {[]string{"id"}, "region", true},
		"neither": {[]string{"id"}, "", false},
	} {
		t.Run(name, func(t *testing.T) {
			cat := laketest.OpenCatalog(t, t.TempDir())
			properties := `"id":{"type":"integer"},"v":{"type":"string"}`
			tbl := openTable(t, cat, laketest.Plan("s", properties), lake.Options{FormatVersion: 3})
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "old"}))
			fields := append(tbl.Opened().Schema().Fields(), iceberg.NestedField{ID: 100, Name: "region", Type: iceberg.PrimitiveTypes.String, InitialDefault: "eu"})
			if _, _, err := cat.CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{
				table.NewAddSchemaUpdate(iceberg.NewSchema(1, fields...)), table.NewSetCurrentSchemaUpdate(-1),
				table.NewRemovePropertiesUpdate([]string{"airbyte.columns"}), // as in a table of another program
			}); err != nil {
				t.Fatal(err)
			}
			plan := sending(t, properties+`,"region":{"type":"string"}`, tc.key...)
			plan.Cursor = tc.cursor
			tbl = openTable(t, cat, plan, lake.Options{})
			staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "new", "region": "eu"})
			_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, nil)
			if !tc.ends {
				if err != nil {
					t.Fatal(err)
				}
				laketest.ExpectRows(t, tbl, `{"id":1,"v":"new","region":"eu"}`)
				return
			}
			var userError *protocol.Error
			if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, "has no column region, whose default is not null") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// Rows that were staged for a table carry its field ids; they must not land in
// another of the same name.
func TestATableMadeAnewTakesNoRowsOfTheOldOne(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := openTable(t, cat, laketest.Plain("s"), lake.Options{})
	staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
	if err := cat.DropTable(t.Context(), tbl.Opened().Identifier()); err != nil {
		t.Fatal(err)
	}
	other := openTable(t, cat, planOf("s", optional("v", aLong), optional("id", aString)), lake.Options{})
	_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, nil)
	if err == nil || !strings.Contains(err.Error(), "was dropped and created again") {
		t.Errorf("error %v", err)
	}
	laketest.ExpectRows(t, other)
}

func TestATableThatIsGoneIsNamed(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := openTable(t, cat, laketest.Plain("s"), lake.Options{})
	staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
	if err := cat.DropTable(t.Context(), tbl.Opened().Identifier()); err != nil {
		t.Fatal(err)
	}
	_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, nil)
	var userError *protocol.Error
	if !errors.As(err, &userError) || userError.Kind != protocol.TransientError || !strings.Contains(userError.Message, "was dropped or renamed") {
		t.Errorf("error %v", err)
	}
}

// Of a column that another program drops the rows of this sync would hold
// nothing that a reader sees, and their states would be acknowledged. What it
// adds or renames is no matter.
func TestColumnsThatAreDroppedMeanwhileTakeNoRows(t *testing.T) {
	element := structOf(100, optional("a", aLong), optional("b", aString))
	plan := planOf("s", optional("id", aLong), optional("v", aString), optional("l", listOf(110, element)))
	for _, tt := range []struct {
		name   string
		change func(*table.UpdateSchema)
		want   string // in the error
	}{
		{"a column", func(u *table.UpdateSchema) { u.DeleteColumn([]string{"v"}) }, "Column v of table"},
		{"in an object", func(u *table.UpdateSchema) { u.DeleteColumn([]string{"l", "element", "a"}) }, "Column l.element.a of table"},
		{"one that the stream does not have", func(u *table.UpdateSchema) { u.DeleteColumn([]string{"left"}) }, ""},
		{"a name", func(u *table.UpdateSchema) { u.RenameColumn([]string{"v"}, "w") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cat := laketest.OpenCatalog(t, t.TempDir())
			openTable(t, cat, planOf("s", optional("left", aString)), lake.Options{})
			tbl := openTable(t, cat, plan, lake.Options{})
			staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
			changeColumns(t, tbl, tt.change)
			_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, nil)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v", err)
			}
			if landed := laketest.Load(t, tbl).CurrentSnapshot() != nil; landed != (tt.want == "") {
				t.Errorf("landed = %t", landed)
			}
		})
	}
}

// A column may also be dropped after an attempt has looked for it.
func TestAColumnThatIsDroppedDuringACommitTakesNoRows(t *testing.T) {
	cat := &laketest.Faulty{Catalog: laketest.OpenCatalog(t, t.TempDir())}
	tbl := openTable(t, cat, planOf("s", optional("id", aLong), optional("v", aString)), lake.Options{})
	staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
	cat.Script = []laketest.Outcome{laketest.LetsOthersFirst}
	cat.Other = func() { changeColumns(t, tbl, func(u *table.UpdateSchema) { u.DeleteColumn([]string{"v"}) }) }
	_, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, nil)
	if err == nil || !strings.Contains(err.Error(), "Column v of table") {
		t.Errorf("error %v", err)
	}
	if laketest.Load(t, tbl).CurrentSnapshot() != nil {
		t.Error("the rows are in the table")
	}
}
