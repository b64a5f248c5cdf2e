package lake_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"strings"
	"sync"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// sending plans a stream with these properties; a key makes it append_dedup.
func sending(t *testing.T, properties string, key ...string) *columnar.Plan {
	t.Helper()
	s := protocol.ConfiguredStream{
		Stream:              protocol.Stream{Name: "s", Namespace: "ns", JSONSchema: json.RawMessage(`{"properties":{` + properties + `}}`)},
		DestinationSyncMode: protocol.Append,
	}
	for _, k := range key {
		s.DestinationSyncMode, s.PrimaryKey = protocol.AppendDedup, append(s.PrimaryKey, []string{k})
	}
	p, err := columnar.NewPlan(s, columnar.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// send writes records through everything a sync puts them through.
func send(t *testing.T, tbl *lake.Table, records ...string) {
	t.Helper()
	b := columnar.NewBatch(tbl.Layout(), columnar.RowMeta{})
	var lines strings.Builder
	for _, r := range records {
		fmt.Fprintf(&lines, `{"type":"RECORD","record":{"stream":"s","namespace":"ns","emitted_at":1,"data":%s}}`+"\n", r)
	}
	var d columnar.Decoder
	if err := d.Decode([]byte(lines.String()), 1, 1, func(_, _ []byte) (*columnar.Batch, error) { return b, nil }); err != nil {
		t.Fatal(err)
	}
	w := tbl.NewWriter()
	if err := w.Write(t.Context(), b.Record(), b.Order()); err != nil {
		t.Fatal(err)
	}
	staged, err := w.Close(t.Context(), nil, nil, math.MaxInt64)
	if err != nil {
		t.Fatal(err)
	}
	laketest.Commit(t, tbl, "", staged)
}

func reopen(t *testing.T, tbl *lake.Table, p *columnar.Plan) *lake.Table {
	t.Helper()
	again, err := lake.Open(t.Context(), tbl.Catalog(), p, lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return again
}

func TestATypeThatDoesNotFitGetsAColumnOfItsOwn(t *testing.T) {
	const (
		text   = `{"type":"string"}`
		long   = `{"type":"integer"}`
		double = `{"type":"number"}`
		object = `{"type":"object","properties":{"a":{"type":"string"}}}`
		list   = `{"type":"array","items":{"type":"string"}}`
		day    = `{"type":"string","format":"date"}`
		local  = `{"type":"string","format":"date-time","airbyte_type":"timestamp_without_timezone"}`
		zoned  = `{"type":"string","format":"date-time"}`
	)
	for _, tc := range []struct {
		name                     string
		have, want               string
		before, after            string // values of c
		column                   string
		rowBefore, rowAfter      string
		wantHolds, wantSendsType string
	}{
		{"string to long", text, long, `"x"`, `1`, "c_long", `{"c":"x","c_long":null}`, `{"c":null,"c_long":1}`, "string", "long"},
		{"long to double", long, double, `1`, `0.5`, "c_double", `{"c":1,"c_double":null}`, `{"c":null,"c_double":0.5}`, "long", "double"},
		{"struct to string", object, text, `{"a":"x"}`, `"y"`, "c_string", `{"c":{"a":"x"},"c_string":null}`, `{"c":null,"c_string":"y"}`, "", "string"},
		{"string to struct", text, object, `"x"`, `{"a":"y"}`, "c_struct", `{"c":"x","c_struct":null}`, `{"c":null,"c_struct":{"a":"y"}}`, "string", ""},
		{"string to list", text, list, `"x"`, `["y"]`, "c_list", `{"c":"x","c_list":null}`, `{"c":null,"c_list":["y"]}`, "string", ""},
		{"day to instant", day, zoned, `"2026-01-02"`, `"2026-01-02T03:04:05Z"`, "c_timestamptz", `{"c":"2026-01-02","c_timestamptz":null}`, `{"c":null,"c_timestamptz":"2026-01-02T03:04:05Z"}`, "date", "timestamptz"},
		{"zone", zoned, local, `"2026-01-02T03:04:05Z"`, `"2026-01-02T03:04:05"`, "c_timestamp", `{"c":"2026-01-02T03:04:05Z","c_timestamp":null}`, `{"c":null,"c_timestamp":"2026-01-02T03:04:05"}`, "timestamptz", "timestamp"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			before, after := sending(t, `"c":`+tc.have), sending(t, `"c":`+tc.want)
			tbl, err := lake.Open(t.Context(), laketest.OpenCatalog(t, t.TempDir()), before, lake.Options{})
			if err != nil {
				t.Fatal(err)
			}
			if len(tbl.TypeChanges()) > 0 {
				t.Errorf("a new table has moved columns: %v", tbl.TypeChanges())
			}
			send(t, tbl, `{"c":`+tc.before+`}`)
			tbl = reopen(t, tbl, after)
			send(t, tbl, `{"c":`+tc.after+`}`)
			laketest.ExpectRows(t, tbl, tc.rowBefore, tc.rowAfter)
			changes := tbl.TypeChanges()
			if len(changes) != 1 || changes[0].Column != "c" || changes[0].To != tc.column ||
				tc.wantHolds != "" && changes[0].Holds != tc.wantHolds || tc.wantSendsType != "" && changes[0].Sends != tc.wantSendsType {
				t.Errorf("changes %+v", changes)
			}
			if f, _ := tbl.Opened().Schema().FindFieldByName(tc.column); f.Doc != "c" {
				t.Errorf("the column's doc is %q", f.Doc)
			}

			// The next run of either kind finds its column.
			location := laketest.Load(t, tbl).MetadataLocation()
			tbl = reopen(t, tbl, after)
			tbl = reopen(t, tbl, before)
			if laketest.Load(t, tbl).MetadataLocation() != location {
				t.Error("the table was changed for nothing")
			}
			send(t, tbl, `{"c":`+tc.before+`}`)
			laketest.ExpectRows(t, tbl, tc.rowBefore, tc.rowAfter, tc.rowBefore)
		})
	}
}

func TestTypeChangesInsideObjectsAndLists(t *testing.T) {
	const (
		before = `"o":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"integer"}}},"l":{"type":"array","items":{"type":"object","properties":{"x":{"type":"string"}}}}`
		after  = `"o":{"type":"object","properties":{"a":{"type":"object","properties":{"deep":{"type":"integer"}}},"b":{"type":"integer"}}},"l":{"type":"array","items":{"type":"object","properties":{"x":{"type":"boolean"}}}}`
		later  = `"o":{"type":"object","properties":{"a":{"type":"object","properties":{"deep":{"type":"string"}}},"b":{"type":"integer"}}},"l":{"type":"array","items":{"type":"object","properties":{"x":{"type":"boolean"}}}}`
	)
	tbl, err := lake.Open(t.Context(), laketest.OpenCatalog(t, t.TempDir()), sending(t, before), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	send(t, tbl, `{"o":{"a":"s","b":1},"l":[{"x":"s"}]}`)
	tbl = reopen(t, tbl, sending(t, after))
	send(t, tbl, `{"o":{"a":{"deep":2},"b":3},"l":[{"x":true}]}`)
	tbl = reopen(t, tbl, sending(t, later))
	send(t, tbl, `{"o":{"a":{"deep":"t"},"b":4},"l":[]}`)
	laketest.ExpectRows(t, tbl,
		`{"o":{"a":"s","b":1,"a_struct":null},"l":[{"x":"s","x_boolean":null}]}`,
		`{"o":{"a":null,"b":3,"a_struct":{"deep":2,"deep_string":null}},"l":[{"x":null,"x_boolean":true}]}`,
		`{"o":{"a":null,"b":4,"a_struct":{"deep":null,"deep_string":"t"}},"l":[]}`)
	changes := map[string]string{}
	for _, m := range tbl.TypeChanges() {
		changes[m.Column] = m.To
	}
	if diff := cmp.Diff(map[string]string{"o.a": "o.a_struct", "o.a_struct.deep": "o.a_struct.deep_string", "l.element.x": "l.element.x_boolean"}, changes); diff != "" {
		t.Error(diff)
	}
}

func TestAMovedColumnIsNoOtherPropertys(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl, err := lake.Open(t.Context(), cat, sending(t, `"c":{"type":"string"},"c_long":{"type":"integer"}`), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	send(t, tbl, `{"c":"s","c_long":1}`)
	// The source has a property of the name that would be chosen, even when it
	// does not send it now.
	tbl = reopen(t, tbl, sending(t, `"c":{"type":"integer"}`))
	send(t, tbl, `{"c":2}`)
	// And it may get one of the name that was chosen.
	tbl = reopen(t, tbl, sending(t, `"c":{"type":"integer"},"c_long_2":{"type":"integer"}`))
	send(t, tbl, `{"c":3,"c_long_2":4}`)
	laketest.ExpectRows(t, tbl,
		`{"c":"s","c_long":1,"c_long_2":null,"c_long_2_2939d9af":null}`,
		`{"c":null,"c_long":null,"c_long_2":2,"c_long_2_2939d9af":null}`,
		`{"c":null,"c_long":null,"c_long_2":3,"c_long_2_2939d9af":4}`)
}

func TestATypeOfAKeyThatChangesIsRefusedAndNothingChanged(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl, err := lake.Open(t.Context(), cat, sending(t, `"id":{"type":"integer"},"c":{"type":"string"}`, "id"), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	_, err = lake.Open(t.Context(), cat, sending(t, `"id":{"type":"string"},"c":{"type":"integer"}`, "id"), lake.Options{})
	var userError *protocol.Error
	if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || userError.Stream == nil ||
		userError.Message != `Column "id" of table ns.s is part of the primary key and holds long, but now string must be written. Rename the table in the catalog, or write the stream to another namespace, then sync it from the beginning.` {
		t.Errorf("error %v", err)
	}
	if got := laketest.Load(t, tbl).Schema(); !tabledef.SameColumns(got, tbl.Opened().Schema()) {
		t.Errorf("columns are %v", columnsOf(got))
	}
}

// What orders rows is of the new column alone: those from before have null
// there, which is older than any.
func TestACursorThatMovesStillDecides(t *testing.T) {
	cursor := func(kind string) *columnar.Plan {
		p := sending(t, `"id":{"type":"integer"},"at":{"type":"`+kind+`"}`, "id")
		p.Cursor = "at"
		return p
	}
	tbl, err := lake.Open(t.Context(), laketest.OpenCatalog(t, t.TempDir()), cursor("string"), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	send(t, tbl, `{"id":1,"at":"2026"}`, `{"id":2,"at":"2026"}`)
	tbl = reopen(t, tbl, cursor("integer"))
	send(t, tbl, `{"id":1,"at":7}`)
	send(t, tbl, `{"id":1,"at":5}`)
	laketest.ExpectRows(t, tbl, `{"id":1,"at":null,"at_long":7}`, `{"id":2,"at":"2026","at_long":null}`)
	if diff := cmp.Diff([]columns.TypeChange{{Column: "at", To: "at_long", Holds: "string", Sends: "long"}}, tbl.TypeChanges()); diff != "" {
		t.Error(diff)
	}
}

func TestATableWhoseOwnColumnsAreOthersIsRefused(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	p := planOf("s")
	p.Wanted.Airbyte = []iceberg.NestedField{{ID: 1, Name: "_airbyte_generation_id", Type: aString}}
	if _, err := lake.OpenUnbound(t.Context(), cat, p, lake.Options{}); err != nil {
		t.Fatal(err)
	}
	_, err := lake.Open(t.Context(), cat, sending(t, ``), lake.Options{})
	var userError *protocol.Error
	if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, "is this program's own and holds string") {
		t.Errorf("error %v", err)
	}
}

// changeColumns lets another program change a table's columns.
func changeColumns(t *testing.T, tbl *lake.Table, edit func(*table.UpdateSchema)) {
	t.Helper()
	tx := laketest.Load(t, tbl).NewTransaction()
	update := tx.UpdateSchema(true, true)
	edit(update)
	if err := update.Commit(); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

func TestAKeyThatAnotherProgramRenamedIsFollowed(t *testing.T) {
	p := sending(t, `"id":{"type":"integer"},"at":{"type":"integer"},"o":{"type":"object","properties":{"a":{"type":"string"}}},"_ab_cdc_deleted_at":{"type":"string"}`, "id")
	p.Cursor = "at"
	o := lake.Options{Settings: tabledef.Settings{PartitionBy: by(t, "bucket(4, id)"), SortBy: []tabledef.SortBy{{Column: "at"}}}}
	tbl, err := lake.Open(t.Context(), laketest.OpenCatalog(t, t.TempDir()), p, o)
	if err != nil {
		t.Fatal(err)
	}
	send(t, tbl, `{"id":1,"at":5,"o":{"a":"x"}}`, `{"id":2,"at":5}`, `{"id":3,"at":5}`)
	changeColumns(t, tbl, func(u *table.UpdateSchema) {
		for path, name := range map[string]string{"id": "key", "at": "version", "_ab_cdc_deleted_at": "gone", "o.a": "b"} {
			u.RenameColumn(strings.Split(path, "."), name)
		}
	})
	// The names are free for what the source has not had before.
	p = sending(t, `"id":{"type":"integer"},"at":{"type":"integer"},"o":{"type":"object","properties":{"a":{"type":"string"},"b":{"type":"string"}}},"_ab_cdc_deleted_at":{"type":"string"},"version":{"type":"string"}`, "id")
	p.Cursor = "at"
	if tbl, err = lake.Open(t.Context(), tbl.Catalog(), p, o); err != nil {
		t.Fatal(err)
	}
	send(t, tbl, `{"id":1,"at":6,"o":{"a":"y","b":"new"}}`, `{"id":2,"at":4}`, `{"id":3,"at":6,"_ab_cdc_deleted_at":"now"}`)
	laketest.ExpectRows(t, tbl,
		`{"key":1,"version":6,"o":{"b":"y","b_3e23e816":"new"},"gone":null,"version_5ca4f385":null}`,
		`{"key":2,"version":5,"o":null,"gone":null,"version_5ca4f385":null}`)
	if diff := cmp.Diff([]int{1}, laketest.Load(t, tbl).Schema().IdentifierFieldIDs); diff != "" {
		t.Errorf("identifier fields: %s", diff)
	}
	location := laketest.Load(t, tbl).MetadataLocation()
	if _, err = lake.Open(t.Context(), tbl.Catalog(), p, o); err != nil || laketest.Load(t, tbl).MetadataLocation() != location {
		t.Errorf("the table was changed for nothing, or error %v", err)
	}
}

func TestAColumnThatAnotherProgramDropped(t *testing.T) {
	p := sending(t, `"id":{"type":"integer"},"v":{"type":"string"}`, "id")
	tbl, err := lake.Open(t.Context(), laketest.OpenCatalog(t, t.TempDir()), p, lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	send(t, tbl, `{"id":1,"v":"a"}`, `{"id":2,"v":"a"}`)
	changeColumns(t, tbl, func(u *table.UpdateSchema) { u.DeleteColumn([]string{"v"}) })
	tbl = reopen(t, tbl, p)
	send(t, tbl, `{"id":1,"v":"b"}`)
	laketest.ExpectRows(t, tbl, `{"id":1,"v":"b"}`, `{"id":2,"v":null}`)
	if f, _ := tbl.Opened().Schema().FindFieldByName("v"); f.ID == 2 {
		t.Error("an id is used again")
	}
	// Without the key every row would come once more.
	changeColumns(t, tbl, func(u *table.UpdateSchema) { u.SetIdentifierField(nil).DeleteColumn([]string{"id"}) })
	location := laketest.Load(t, tbl).MetadataLocation()
	_, err = lake.Open(t.Context(), tbl.Catalog(), p, lake.Options{})
	var userError *protocol.Error
	if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError ||
		userError.Message != `Column "id" of table ns.s is part of the primary key, and another program has dropped it. Restore a schema that has it. Existing keys would be written again. Rename the table in the catalog, or write the stream to another namespace, then sync it from the beginning.` {
		t.Errorf("error %v", err)
	}
	if laketest.Load(t, tbl).MetadataLocation() != location {
		t.Error("the table was changed")
	}
}

// Processes that give one table columns at once keep each other's entries.
func TestConcurrentOpensKeepEachOthersMapping(t *testing.T) {
	dir := t.TempDir()
	cat := laketest.OpenCatalog(t, dir)
	if _, err := lake.Open(t.Context(), cat, sending(t, `"id":{"type":"integer"}`), lake.Options{}); err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	properties := []string{"A B", "C", "D-e", "f"}
	for _, property := range properties {
		cat := laketest.OpenCatalog(t, dir)
		p := sending(t, `"id":{"type":"integer"},"`+property+`":{"type":"string"}`)
		all.Go(func() {
			if _, err := lake.Open(t.Context(), cat, p, lake.Options{}); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	tbl, err := lake.Open(t.Context(), cat, sending(t, `"a b":{"type":"string"},"c":{"type":"string"},"d-E":{"type":"string"},"F":{"type":"string"}`), lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	if got := len(tbl.Opened().Schema().Fields()); got != 1+len(properties)+4 {
		t.Errorf("columns %v", columnsOf(tbl.Opened().Schema()))
	}
}

// Rows of a key of doubles are found by value, also those written as floats.
func TestDoublesThatBecomeAKey(t *testing.T) {
	for _, mode := range []lake.Upsert{lake.MergeOnRead, lake.CopyOnWrite} {
		t.Run(string(mode), func(t *testing.T) {
			cat := laketest.OpenCatalog(t, t.TempDir())
			tbl := openTable(t, cat, planOf("s", optional("id", aFloat), optional("v", aString)), lake.Options{})
			laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{"id": 0.5, "v": "a"}, map[string]any{"id": 1e10, "v": "a"}, map[string]any{"id": 3, "v": "a"}))
			tbl, err := lake.Open(t.Context(), cat, sending(t, `"id":{"type":"number"},"v":{"type":"string"}`, "id"), lake.Options{Upsert: mode})
			if err != nil {
				t.Fatal(err)
			}
			send(t, tbl, `{"id":5e-1,"v":"b"}`, `{"id":0.1,"v":"b"}`)
			send(t, tbl, `{"id":0.10,"v":"c"}`, `{"id":1e+10,"v":"c"}`)
			laketest.ExpectRows(t, tbl, `{"id":0.5,"v":"b"}`, `{"id":0.1,"v":"c"}`, `{"id":1e+10,"v":"c"}`, `{"id":3,"v":"a"}`)
			if ids := tbl.Opened().Schema().IdentifierFieldIDs; len(ids) > 0 {
				t.Errorf("a double is an identifier field: %v", ids)
			}
		})
	}
}

// Tables from before there were mappings, and those that have lost theirs, are
// told by the docs of their columns.
func TestATableWithoutAMappingKeepsItsColumns(t *testing.T) {
	first := sending(t, `"Id":{"type":"integer"},"First Name":{"type":"string"},"v":{"type":"string"}`, "Id")
	second := sending(t, `"Id":{"type":"integer"},"first_name":{"type":"string"},"First Name":{"type":"string"},"v":{"type":"integer"}`, "Id")
	tbl, err := lake.Open(t.Context(), laketest.OpenCatalog(t, t.TempDir()), first, lake.Options{})
	if err != nil {
		t.Fatal(err)
	}
	send(t, tbl, `{"Id":1,"First Name":"Ada","v":"x"}`, `{"Id":2,"First Name":"Bob","v":"y"}`)
	tbl = reopen(t, tbl, second)
	const mapping, moved = "airbyte.columns", "airbyte.moved-columns"
	_, _, err = tbl.Catalog().CommitTable(t.Context(), tbl.Opened().Identifier(), nil, []table.Update{
		table.NewRemovePropertiesUpdate([]string{mapping}), table.NewSetPropertiesUpdate(iceberg.Properties{moved: `{"v_long":"v"}`}),
	})
	if err != nil {
		t.Fatal(err)
	}
	tbl = reopen(t, tbl, second)
	send(t, tbl, `{"Id":1,"first_name":"low","First Name":"Ada L.","v":7}`)
	laketest.ExpectRows(t, tbl,
		`{"id":1,"first_name":"Ada L.","v":null,"first_name_05416fbf":"low","v_long":7}`,
		`{"id":2,"first_name":"Bob","v":"y","first_name_05416fbf":null,"v_long":null}`)
	props := laketest.Load(t, tbl).Properties()
	if _, there := props[moved]; there || props[mapping] == "" {
		t.Errorf("properties %v", props)
	}
}
