package columnar

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// columnsOf shows the columns of a schema, without those of Airbyte, as
// "name: type".
func columnsOf(s *iceberg.Schema) string {
	var all []string
	for _, f := range s.Fields()[:s.NumFields()-airbyteColumns] {
		line := f.Name + ": " + f.Type.String()
		if f.Required {
			line += " required"
		}
		if f.Doc != "" {
			line += " (" + f.Doc + ")"
		}
		all = append(all, line)
	}
	return strings.Join(all, "\n")
}

func TestEachTypeHasItsColumn(t *testing.T) {
	const text = "string"
	tests := []struct {
		schema, want string
		o            Options
	}{
		{`{"type":"string"}`, text, Options{}},
		{`{"type":["null","string"]}`, text, Options{}},
		{`{"type":["string"]}`, text, Options{}},
		{`{"type":"string","format":"uuid"}`, text, Options{}},
		{`{"type":"string","format":"date"}`, "date", Options{}},
		{`{"type":"string","format":"date-time"}`, "timestamptz", Options{}},
		{`{"type":"string","format":"date-time","airbyte_type":"timestamp_with_timezone"}`, "timestamptz", Options{}},
		{`{"type":"string","format":"date-time","airbyte_type":"timestamp_without_timezone"}`, "timestamp", Options{}},
		{`{"type":"string","format":"time","airbyte_type":"time_with_timezone"}`, text, Options{}},
		{`{"type":"string","format":"time","airbyte_type":"time_without_timezone"}`, text, Options{}},
		{`{"type":"string","contentEncoding":"base64"}`, text, Options{}},
		{`{"type":"boolean"}`, "boolean", Options{}},
		{`{"type":"integer"}`, "long", Options{}},
		{`{"type":["null","integer"],"airbyte_type":"integer"}`, "long", Options{}},
		{`{"type":"number","airbyte_type":"integer"}`, "long", Options{}},
		{`{"type":"number"}`, "double", Options{}},
		{`{"type":"number"}`, "decimal(38, 9)", Options{Numbers: Decimal}},
		{`{"type":["number","integer","null"]}`, "double", Options{}},
		{`{"type":"object","properties":{"a":{"type":"integer"},"B":{"type":"string"}}}`, "struct<2: a: optional long, 3: b: optional string (B)>", Options{}},
		{`{"type":["null","object"],"properties":{"a":{"type":"integer"}}}`, text, Options{Nested: JSON}},
		{`{"properties":{"a":{"type":"integer"}}}`, "struct<2: a: optional long>", Options{}},
		{`{"type":"object","properties":{}}`, text, Options{}},
		{`{"type":"object"}`, text, Options{}},
		{`{"type":"object","additionalProperties":{"type":"string"}}`, text, Options{}},
		{`{"type":"array","items":{"type":"integer"}}`, "list<long>", Options{}},
		{`{"type":"array","items":[{"type":"integer"}]}`, "list<long>", Options{}},
		{`{"type":"array","items":[{"type":"integer"},{"type":"boolean"}]}`, "list<string>", Options{}},
		{`{"type":"array","items":{"type":"object","properties":{"a":{"type":"integer"}}}}`, "list<struct<3: a: optional long>>", Options{}},
		{`{"type":"array","items":{"type":"object","properties":{"a":{"type":"integer"}}}}`, "list<string>", Options{Nested: JSON}},
		{`{"type":"array","items":{"type":"array","items":{"type":"string"}}}`, "list<list<string>>", Options{}},
		{`{"type":"array","items":{"type":["string","integer"]}}`, "list<string>", Options{}},
		{`{"type":"array"}`, text, Options{}},
		{`{"type":"array","items":{}}`, text, Options{}},
		{`{"type":"array","items":true}`, text, Options{}},
		{`{"type":["string","integer"]}`, text, Options{}},
		{`{"oneOf":[{"type":"null"},{"type":"integer"}]}`, "long", Options{}},
		{`{"anyOf":[{"type":"string","format":"date"},{"type":"null"}]}`, "date", Options{}},
		{`{"oneOf":[{"type":["null","object"],"properties":{"a":{"type":"integer"}}},{"type":"null"}]}`, "struct<2: a: optional long>", Options{}},
		{`{"oneOf":[{"type":"integer"},{"type":"integer","minimum":3}]}`, "long", Options{}},
		{`{"oneOf":[{"type":"integer"},{"type":"boolean"}]}`, text, Options{}},
		{`{"oneOf":[{"type":"object","properties":{"a":{"type":"integer"}}},{"type":"object","properties":{"b":{"type":"integer"}}}]}`, text, Options{}},
		{`{"type":"integer","oneOf":[{"const":1},{"const":2}]}`, "long", Options{}},
		{`{}`, text, Options{}},
		{`true`, text, Options{}},
		{`{"type":"null"}`, text, Options{}},
		{`{"type":"potato"}`, text, Options{}},
		{`{"type":7}`, text, Options{}},
		{`{"$ref":"#/definitions/x"}`, text, Options{}},
	}
	for _, tt := range tests {
		t.Run(tt.schema+string(tt.o.Nested+Nested(tt.o.Numbers)), func(t *testing.T) {
			plan, err := NewPlan(stream(properties(`"v":`+tt.schema)), tt.o)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			// nested ids come after those of all top-level columns
			want = strings.NewReplacer("2: a", "6: a", "3: b", "7: b", "<3: a", "<7: a").Replace(want)
			if diff := cmp.Diff("v: "+want, columnsOf(plan.Schema)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestJSONAndStringColumnsDiffer(t *testing.T) {
	for schema, want := range map[string]kind{
		`{"type":"string"}`: kindString, `{"type":["string","integer"]}`: kindJSON, `{}`: kindJSON, `{"type":"object"}`: kindJSON,
		`{"oneOf":[{"type":"string"},{"type":"string","format":"date-time"}]}`: kindString,
	} {
		if got := fieldOf([]byte(schema), Options{}).kind; got != want {
			t.Errorf("%s: kind %d, want %d", schema, got, want)
		}
	}
}

func TestSchemaOfAWholeTable(t *testing.T) {
	s := stream(properties(`"z":` + integerType + `,"UserId":` + stringType + `,"amount":` + numberType + `,"a":` + objectType + `,"z":` + stringType + `,"_ab_cdc_deleted_at":` + instantType))
	s.Stream.Namespace = "My App"
	s.DestinationSyncMode, s.PrimaryKey, s.CursorField = protocol.AppendDedup, [][]string{{"amount"}, {"UserId"}}, []string{"z"}
	plan, err := NewPlan(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	const want = `table {
	1: z: optional string
	2: userid: required string (UserId)
	3: amount: required decimal(38, 9)
	4: a: optional struct<10: a: optional long>
	5: _ab_cdc_deleted_at: optional timestamptz
	6: _airbyte_raw_id: required string
	7: _airbyte_extracted_at: optional timestamptz
	8: _airbyte_meta: optional struct<11: sync_id: optional long, 12: changes: optional list<struct<14: field: optional string, 15: change: optional string, 16: reason: optional string>>>
	9: _airbyte_generation_id: optional long
}`
	if diff := cmp.Diff(want, plan.Schema.String()); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]int{2, 3}, plan.Schema.IdentifierFieldIDs); diff != "" {
		t.Error(diff)
	}
	got := *plan
	got.Schema, got.Wanted, got.fields = nil, columns.Wanted{}, nil
	if diff := cmp.Diff(Plan{
		Stream: protocol.StreamID{Namespace: "My App", Name: "s"}, Location: Location{"my_app", "s"}, Otherwise: Location{"My_App", "s"}, Dedup: true,
		Key: []string{"amount", "UserId"}, Cursor: "z", Deleted: "_ab_cdc_deleted_at",
	}, got, cmp.AllowUnexported(Plan{})); diff != "" {
		t.Error(diff)
	}
}

func TestANumberInTheKeyIsADecimalWhateverTheMode(t *testing.T) {
	s := stream(properties(`"v":` + numberType))
	s.PrimaryKey = [][]string{{"v"}}
	plan, err := NewPlan(s, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff("v: decimal(38, 9)", columnsOf(plan.Schema)); diff != "" {
		t.Error(diff)
	}
	if plan.Key != nil || len(plan.Schema.IdentifierFieldIDs) > 0 {
		t.Error("an appended table has a key")
	}
}

func TestAStreamWithoutColumns(t *testing.T) {
	for _, schema := range []string{``, `{}`, `null`, `{"type":"object","properties":{}}`, `{"properties":[]}`} {
		b := newTestBatch(t, stream(schema), Options{})
		var d Decoder
		if err := d.Decode([]byte(recordLine(`{"a":1}`)), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		if rec := validRecord(t, b); rec.NumRows() != 1 || rec.NumCols() != airbyteColumns {
			t.Errorf("schema %q: %d rows of %d columns", schema, rec.NumRows(), rec.NumCols())
		}
	}
}

func TestUnusableKeysAndCursorsAreConfigErrors(t *testing.T) {
	tests := []struct {
		name        string
		key         [][]string
		cursor      []string
		want        string
		sourceKey   [][]string
		definedByIt bool
	}{
		{name: "no key", want: "append_dedup needs a primary key"},
		{name: "nested key", key: [][]string{{"o", "a"}}, want: `the primary key "o.a" is inside an object`},
		{name: "key not in the schema", key: [][]string{{"v"}, {"x"}}, want: `the primary key "x" is not in the stream's schema`},
		{name: "object as key", key: [][]string{{"o"}}, want: `the primary key "o" is an object`},
		{name: "list as key", key: [][]string{{"l"}}, want: `the primary key "l" is an object or an array`},
		{name: "empty path", key: [][]string{{}}, want: "is inside an object"},
		{name: "nested cursor", key: [][]string{{"v"}}, cursor: []string{"o", "a"}, want: `the cursor "o.a" is inside an object`},
		{name: "cursor not in the schema", key: [][]string{{"v"}}, cursor: []string{"x"}, want: `the cursor "x" is not in the stream's schema`},
		{name: "union as cursor", key: [][]string{{"v"}}, cursor: []string{"u"}, want: `the cursor "u" has no single simple type`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := stream(properties(`"v":` + integerType + `,"o":` + objectType + `,"l":` + listType + `,"u":` + unionType))
			s.DestinationSyncMode, s.PrimaryKey, s.CursorField = protocol.AppendDedup, tt.key, tt.cursor
			_, err := NewPlan(s, Options{})
			var e *protocol.Error
			if !errors.As(err, &e) || e.Kind != protocol.ConfigError || e.Stream == nil || !strings.HasPrefix(e.Message, "Stream s: ") || !strings.Contains(e.Message, tt.want) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}

// A schema that nobody could read the columns of ends the plan at once, whatever it is made of.
func TestDeepSchemasAreConfigErrors(t *testing.T) {
	for name, level := range map[string][2]string{
		"objects":          {`{"type":"object","properties":{"a":`, `}}`},
		"arrays":           {`{"type":"array","items":`, `}`},
		"arrays of any":    {`{"type":"array","items":[`, `]}`},
		"alternatives":     {`{"oneOf":[{"type":"null"},`, `]}`},
		"objects, untyped": {`{"properties":{"b":` + stringType + `,"a":`, `}}`},
	} {
		for _, levels := range []int{maxLevels, maxLevels + 1, testsize.Of(300, 4000)} {
			s := stream(properties(`"v":` + strings.Repeat(level[0], levels) + stringType + strings.Repeat(level[1], levels)))
			_, err := NewPlan(s, Options{})
			var e *protocol.Error
			if levels == maxLevels && err != nil {
				t.Errorf("%s, %d levels: %v", name, levels, err)
			} else if levels > maxLevels && (!errors.As(err, &e) || e.Kind != protocol.ConfigError || e.Stream == nil ||
				!strings.HasPrefix(e.Message, `Stream s: the schema of property "v" nests`)) {
				t.Errorf("%s, %d levels: %v", name, levels, err)
			}
			if _, err := NewPlan(s, Options{Nested: JSON}); strings.HasPrefix(name, "objects") && err != nil {
				t.Errorf("%s, %d levels, which are JSON: %v", name, levels, err)
			}
		}
	}
}

func TestBindTakesTheIDsOfTheTable(t *testing.T) {
	plan, err := NewPlan(stream(properties(`"o":`+objectType+`,"l":{"type":"array","items":`+objectType+`}`)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	table := tableLike(plan, func(id int) int { return 1000 - id })
	bound := map[int]int{}
	for id := range ownIDs(plan) {
		bound[id] = 1000 - id
	}
	layout, err := plan.Bind(table, bound)
	if err != nil {
		t.Fatal(err)
	}
	ids := map[string]string{}
	var walk func(path string, fields []arrow.Field)
	walk = func(path string, fields []arrow.Field) {
		for _, f := range fields {
			id, _ := f.Metadata.GetValue("PARQUET:field_id")
			ids[path+f.Name] = id
			switch t := f.Type.(type) {
			case *arrow.StructType:
				walk(path+f.Name+".", t.Fields())
			case *arrow.ListType:
				walk(path+f.Name+".", []arrow.Field{t.ElemField()})
			}
		}
	}
	walk("", layout.schema.Fields())
	for path, id := range map[string]string{"l": "998", "o": "999", "o.a": "993", "l.element": "992", "l.element.a": "991", "_airbyte_meta.changes.element.reason": "985"} {
		if ids[path] != id {
			t.Errorf("%s has id %q, want %s", path, ids[path], id)
		}
	}
	if len(ids) != 15 {
		t.Errorf("%d fields have ids: %v", len(ids), ids)
	}
}

// ownIDs binds a plan to the table that would be made for it.
func ownIDs(p *Plan) map[int]int {
	ids := map[int]int{}
	for id := 1; ; id++ {
		if _, ok := p.Schema.FindFieldByID(id); !ok {
			return ids
		}
		ids[id] = id
	}
}

// tableLike is the schema of a table made for a plan, the columns in another
// order and with other ids.
func tableLike(p *Plan, id func(int) int) *iceberg.Schema {
	var renumber func(t iceberg.Type) iceberg.Type
	fields := func(list []iceberg.NestedField) []iceberg.NestedField {
		out := []iceberg.NestedField{{ID: 5000, Name: "left_by_the_source", Type: iceberg.PrimitiveTypes.String}}
		for i := len(list) - 1; i >= 0; i-- {
			f := list[i]
			f.ID, f.Type = id(f.ID), renumber(f.Type)
			out = append(out, f)
		}
		out[0].ID += out[1].ID
		return out
	}
	renumber = func(t iceberg.Type) iceberg.Type {
		switch t := t.(type) {
		case *iceberg.StructType:
			return &iceberg.StructType{FieldList: fields(t.FieldList)}
		case *iceberg.ListType:
			return &iceberg.ListType{ElementID: id(t.ElementID), Element: renumber(t.Element), ElementRequired: t.ElementRequired}
		}
		return t
	}
	return iceberg.NewSchema(3, fields(p.Schema.Fields())...)
}

func TestBindRefusesATableThatDoesNotFit(t *testing.T) {
	plan, err := NewPlan(stream(properties(`"v":`+integerType+`,"o":`+objectType)), Options{})
	if err != nil {
		t.Fatal(err)
	}
	edit := func(change func(map[string]*iceberg.NestedField)) *iceberg.Schema {
		fields := plan.Schema.Fields()
		byName := map[string]*iceberg.NestedField{}
		for i := range fields {
			byName[fields[i].Name] = &fields[i]
		}
		change(byName)
		return iceberg.NewSchema(0, fields...)
	}
	tests := []struct {
		want  string
		table *iceberg.Schema
	}{
		{"binding stream s to its table: column v of the table is string, the stream needs long", edit(func(f map[string]*iceberg.NestedField) { f["v"].Type = iceberg.PrimitiveTypes.String })},
		{"column v of the table is int, the stream needs long", edit(func(f map[string]*iceberg.NestedField) { f["v"].Type = iceberg.PrimitiveTypes.Int32 })},
		{"column o of the table is string, the stream needs a struct", edit(func(f map[string]*iceberg.NestedField) { f["o"].Type = iceberg.PrimitiveTypes.String })},
		{"the table has no column for o.a", edit(func(f map[string]*iceberg.NestedField) {
			f["o"].Type = &iceberg.StructType{FieldList: []iceberg.NestedField{{ID: 70, Name: "b", Type: iceberg.PrimitiveTypes.String}}}
		})},
		{"column o.a of the table is string, the stream needs long", edit(func(f map[string]*iceberg.NestedField) {
			f["o"].Type = &iceberg.StructType{FieldList: []iceberg.NestedField{{ID: 7, Name: "a", Type: iceberg.PrimitiveTypes.String}}}
		})},
		{"the table has no column for v", edit(func(f map[string]*iceberg.NestedField) { f["v"].ID = 99 })},
		{"the table requires column v, which records may leave out", edit(func(f map[string]*iceberg.NestedField) { f["v"].Required = true })},
		{"the table requires column more, which the stream does not have", iceberg.NewSchema(0, append(plan.Schema.Fields(), iceberg.NestedField{ID: 99, Name: "more", Type: iceberg.PrimitiveTypes.String, Required: true})...)},
	}
	for _, tt := range tests {
		t.Run(tt.want, func(t *testing.T) {
			if _, err := plan.Bind(tt.table, ownIDs(plan)); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("says %v", err)
			}
		})
	}
}

func FuzzSchema(f *testing.F) {
	f.Add(properties(`"a":` + objectType + `,"A":` + listType))
	f.Add(`{"properties":{"a":{"oneOf":[{"type":"null"},{"items":[{}]}]},"a.b":true,"":{"type":[]}}}`)
	for _, w := range workloads {
		f.Add(w.schema)
	}
	f.Fuzz(func(t *testing.T, schema string) {
		plan, err := NewPlan(stream(schema), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := iceberg.IndexByName(plan.Schema); err != nil {
			t.Fatal(err)
		}
		layout, err := plan.Bind(plan.Schema, ownIDs(plan))
		if err != nil {
			t.Fatal(err)
		}
		b := NewBatch(layout, RowMeta{})
		var d Decoder
		if err := d.Decode([]byte(recordLine(`{}`)), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		validRecord(t, b)
	})
}
