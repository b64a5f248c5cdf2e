package lake_test

import (
	"context"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

func optional(name string, t iceberg.Type) iceberg.NestedField {
	return iceberg.NestedField{Name: name, Type: t}
}

func required(name string, t iceberg.Type) iceberg.NestedField {
	return iceberg.NestedField{Name: name, Type: t, Required: true}
}

func structOf(id int, fields ...iceberg.NestedField) *iceberg.StructType {
	for i := range fields {
		fields[i].ID = id + i
	}
	return &iceberg.StructType{FieldList: fields}
}

func listOf(id int, element iceberg.Type) *iceberg.ListType {
	return &iceberg.ListType{ElementID: id, Element: element}
}

// columnsOf names a schema's columns and their types.
func columnsOf(s *iceberg.Schema) []string {
	var all []string
	for _, f := range s.Fields() {
		if f.Name == "_airbyte_meta" {
			continue
		}
		text := f.Name + " " + f.Type.String()
		if f.Required {
			text += " required"
		}
		all = append(all, text)
	}
	return all
}

var (
	anInt   = iceberg.PrimitiveTypes.Int32
	aLong   = iceberg.PrimitiveTypes.Int64
	aFloat  = iceberg.PrimitiveTypes.Float32
	aDouble = iceberg.PrimitiveTypes.Float64
	aString = iceberg.PrimitiveTypes.String
)

func TestColumnsAreAddedWidenedAndRelaxedButNeverRemoved(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	before := planOf("s",
		required("id", anInt), optional("f", aFloat), optional("d", iceberg.DecimalTypeOf(20, 9)),
		optional("gone", aString), required("gone_key", aString),
		optional("wide", aLong),
		optional("nested", structOf(100, optional("a", anInt), required("b", aString))),
		optional("list", listOf(200, structOf(201, optional("x", anInt)))))
	tbl := openTable(t, cat, before, lake.Options{})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{
		"id": 1, "f": 0.5, "d": "1.5", "gone": "g", "gone_key": "k", "wide": 1 << 40,
		"nested": map[string]any{"a": 1, "b": "b"}, "list": []any{map[string]any{"x": 1}},
	}))
	after := planOf("s",
		optional("id", aLong), optional("f", aDouble), optional("d", iceberg.DecimalTypeOf(38, 9)), optional("wide", anInt),
		optional("nested", structOf(100, optional("a", aLong), optional("c", listOf(110, structOf(111, optional("deep", aString)))))),
		optional("list", listOf(200, structOf(201, optional("x", aLong), optional("y", aString)))),
		optional("new", structOf(300, optional("p", aString), optional("q", listOf(310, aLong)))))
	tbl = openTable(t, cat, after, lake.Options{})
	want := []string{
		"id long", "f double", "d decimal(38, 9)", "gone string", "gone_key string", "wide long",
		tbl.Opened().Schema().Field(6).Name + " " + tbl.Opened().Schema().Field(6).Type.String(), "list list<struct<13: x: optional long, 30: y: optional string>>",
		"new struct<32: p: optional string, 33: q: optional list<long>>",
		"_airbyte_raw_id string required", "_airbyte_extracted_at timestamptz", "_airbyte_generation_id long",
	}
	got := columnsOf(tbl.Opened().Schema())
	for i := range got { // ids differ with the order columns are numbered in
		got[i], want[i] = withoutIDs(got[i]), withoutIDs(want[i])
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("columns (-want +got):\n%s", diff)
	}
	if got := withoutIDs(tbl.Opened().Schema().Field(6).Type.String()); got != "struct<a: optional long, b: optional string, c: optional list<struct<deep: optional string>>>" {
		t.Errorf("nested is %s", got)
	}
	seen := map[int]bool{}
	fields, err := tbl.Opened().Schema().FlatFields()
	if err != nil {
		t.Fatal(err)
	}
	for f := range fields {
		if seen[f.ID] {
			t.Errorf("two fields have id %d", f.ID)
		}
		seen[f.ID] = true
	}
	if len(seen) != 30 {
		t.Errorf("%d fields", len(seen))
	}
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, map[string]any{
		"id": 1 << 40, "f": 1e300, "nested": map[string]any{"a": 1 << 40, "c": []any{map[string]any{"deep": "x"}}},
		"list": []any{map[string]any{"x": 2, "y": "y"}}, "new": map[string]any{"p": "p", "q": []any{7}},
	}))
	laketest.ExpectRows(t, tbl,
		`{"id":1,"f":0.5,"d":1.5,"gone":"g","gone_key":"k","wide":1099511627776,"nested":{"a":1,"b":"b","c":null},"list":[{"x":1,"y":null}],"new":null}`,
		`{"id":1099511627776,"f":1e+300,"d":null,"gone":null,"gone_key":null,"wide":null,"nested":{"a":1099511627776,"b":null,"c":[{"deep":"x"}]},"list":[{"x":2,"y":"y"}],"new":{"p":"p","q":[7]}}`)

	// The same plan again changes nothing, and so does an older one.
	for _, p := range []*columnar.Plan{after, before} {
		location := laketest.Load(t, tbl).MetadataLocation()
		openTable(t, cat, p, lake.Options{})
		if got := laketest.Load(t, tbl).MetadataLocation(); got != location {
			t.Errorf("the table was changed for nothing: %s", got)
		}
	}
}

func withoutIDs(s string) string {
	for _, part := range strings.FieldsFunc(s, func(r rune) bool { return r == '<' || r == ' ' }) {
		if number, ok := strings.CutSuffix(part, ":"); ok && strings.Trim(number, "0123456789") == "" {
			s = strings.Replace(s, part+" ", "", 1)
		}
	}
	return s
}

func TestIdentifierFieldsFollowThePlan(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	key := func(names ...string) *columnar.Plan {
		p := planOf("s", required("a", aLong), required("b", aLong), optional("c", aLong))
		p.Dedup, p.Key = true, names
		return p
	}
	for _, step := range []struct {
		plan *columnar.Plan
		want []int
	}{
		{key("a"), []int{1}},
		{key("a", "b"), []int{1, 2}},
		{key("b"), []int{2}},
		{key("c"), nil}, // optional: cannot be one
		{planOf("s", required("a", aLong), required("b", aLong), optional("c", aLong)), nil},
		{key("a"), []int{1}},
		{planOf("s", optional("a", aLong), required("b", aLong), optional("c", aLong)), nil},
	} {
		tbl := openTable(t, cat, step.plan, lake.Options{})
		if diff := cmp.Diff(step.want, tbl.Opened().Schema().IdentifierFieldIDs); len(step.want)+len(tbl.Opened().Schema().IdentifierFieldIDs) > 0 && diff != "" {
			t.Errorf("key %v: %s", step.plan.Key, diff)
		}
	}
}

// Processes that open one table at once with different columns all get theirs.
func TestConcurrentOpensMakeAndEvolveOneTable(t *testing.T) {
	dir := t.TempDir()
	var all sync.WaitGroup
	names := []string{"a", "b", "c", "d"}
	for _, name := range names {
		cat := laketest.OpenCatalog(t, dir)
		all.Go(func() {
			tbl, err := lake.OpenUnbound(t.Context(), cat, planOf("s", optional("id", aLong), optional(name, aString)), lake.Options{})
			if err != nil {
				t.Error(err)
				return
			}
			if _, ok := tbl.Opened().Schema().FindFieldByName(name); !ok {
				t.Errorf("column %s is missing in %v", name, columnsOf(tbl.Opened().Schema()))
			}
		})
	}
	all.Wait()
	tbl := openTable(t, laketest.OpenCatalog(t, dir), planOf("s", optional("id", aLong)), lake.Options{})
	for _, name := range names {
		if _, ok := tbl.Opened().Schema().FindFieldByName(name); !ok {
			t.Errorf("column %s is missing in %v", name, columnsOf(tbl.Opened().Schema()))
		}
	}
}

// Rows that were staged before another process changed the columns land.
func TestACommitAfterTheColumnsChangedElsewhere(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := openTable(t, cat, laketest.Keyed("s"), lake.Options{})
	laketest.Commit(t, tbl, "", laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 1, V: "a"}.Row(), laketest.Version{Key: 2, Cursor: 1, V: "a"}.Row()))
	staged := laketest.Stage(t, tbl, 0, laketest.Version{Key: 1, Cursor: 2, V: "b"}.Row())
	wider := sending(t, `"id":{"type":"integer"},"v":{"type":"string"},"extra":{"type":"string"}`, "id")
	openTable(t, cat, wider, lake.Options{})
	laketest.Commit(t, tbl, "", staged)
	if got := valuesOf(t, tbl, "v"); !cmp.Equal(got, []string{"a", "b"}) {
		t.Errorf("rows %v", got)
	}
}

func TestTableIsMadeForEveryReader(t *testing.T) {
	tbl := openTable(t, laketest.OpenCatalog(t, t.TempDir()), laketest.Keyed("s"), lake.Options{})
	loaded := laketest.Load(t, tbl)
	if v := loaded.Metadata().Version(); v != 2 {
		t.Errorf("format version %d", v)
	}
	for key, want := range map[string]string{
		table.MetadataDeleteAfterCommitEnabledKey: "true",
		table.MetadataPreviousVersionsMaxKey:      "20",
		table.WriteTargetFileSizeBytesKey:         "536870912",
	} {
		if got := loaded.Properties()[key]; got != want {
			t.Errorf("%s is %q", key, got)
		}
	}
	if f, _ := tbl.Opened().Schema().FindFieldByName("_airbyte_raw_id"); !f.Required {
		t.Error("_airbyte_raw_id is optional")
	}
}

// strictSchemas is a catalog that gives no ids to schemas, as Nessie.
type strictSchemas struct{ lake.Catalog }

func (c strictSchemas) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	loaded, err := c.LoadTable(ctx, id)
	if err != nil {
		return nil, "", err
	}
	text, err := json.Marshal(updates)
	if err != nil {
		return nil, "", err
	}
	var of []struct {
		Action string
		Schema struct {
			ID int `json:"schema-id"`
		}
	}
	if err := json.Unmarshal(text, &of); err != nil {
		return nil, "", err
	}
	for _, u := range of {
		for _, s := range loaded.Metadata().Schemas() {
			if u.Action == table.UpdateAddSchema && s.ID == u.Schema.ID {
				return nil, "", fmt.Errorf("a schema with ID %d already exists", s.ID)
			}
		}
	}
	return c.Catalog.CommitTable(ctx, id, reqs, updates)
}

func TestANewSchemaHasAnIDOfItsOwn(t *testing.T) {
	cat := strictSchemas{laketest.OpenCatalog(t, t.TempDir())}
	for _, properties := range []string{`"a":{"type":"string"}`, `"a":{"type":"string"},"b":{"type":"string"}`, `"a":{"type":"string"},"b":{"type":"string"},"c":{"type":"string"}`} {
		if _, err := lake.Open(t.Context(), cat, sending(t, properties), lake.Options{}); err != nil {
			t.Fatal(err)
		}
	}
}
