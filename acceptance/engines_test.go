//go:build acceptance

package acceptance

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A property of every Airbyte type, with what the documentation makes of it. Two of them form the key.
var everyType = []struct{ name, schema, iceberg string }{
	{"id", `{"type":"integer"}`, "long"},
	{"part", `{"type":"number"}`, "decimal(38, 9)"},
	{"text", `{"type":["null","string"]}`, "string"},
	{"flag", `{"type":["null","boolean"]}`, "boolean"},
	{"whole", `{"type":["null","integer"]}`, "long"},
	{"whole_number", `{"type":["null","number"],"airbyte_type":"integer"}`, "long"},
	{"number", `{"type":["null","number"]}`, "double"},
	{"day", `{"type":["null","string"],"format":"date"}`, "date"},
	{"instant", `{"type":["null","string"],"format":"date-time"}`, "timestamptz"},
	{"zoned", `{"type":["null","string"],"format":"date-time","airbyte_type":"timestamp_with_timezone"}`, "timestamptz"},
	{"wall", `{"type":["null","string"],"format":"date-time","airbyte_type":"timestamp_without_timezone"}`, "timestamp"},
	{"clock", `{"type":["null","string"],"format":"time","airbyte_type":"time_without_timezone"}`, "string"},
	{"zoned_clock", `{"type":["null","string"],"format":"time","airbyte_type":"time_with_timezone"}`, "string"},
	{
		"object", `{"type":["null","object"],"properties":{"a":{"type":"integer"},"in":{"type":["null","object"],"properties":{"b":{"type":"number"},"at":{"type":"string","format":"date-time"},"tags":{"type":"array","items":{"type":"string"}}}}}}`,
		"struct<a: long, in: struct<b: double, at: timestamptz, tags: list<string>>>",
	},
	{"blob", `{"type":["null","object"]}`, "string"},
	{"list", `{"type":["null","array"],"items":{"type":["null","number"]}}`, "list<double>"},
	{"lists", `{"type":["null","array"],"items":{"type":"array","items":{"type":"integer"}}}`, "list<list<long>>"},
	{
		"objects", `{"type":["null","array"],"items":{"type":"object","properties":{"day":{"type":["null","string"],"format":"date"},"ok":{"type":"boolean"}}}}`,
		"list<struct<day: date, ok: boolean>>",
	},
	{"any_list", `{"type":["null","array"]}`, "string"},
	{"union", `{"oneOf":[{"type":"string"},{"type":"integer"},{"type":"object"}]}`, "string"},
}

// Rows as a source sends them, and what they are in the table where that is different.
var everyValue = []struct {
	name, sent, kept string
	changes          []string // told of the row: the column and what was done
}{
	{
		name: "every value there", sent: `"text":"plain","flag":true,"whole":42,"whole_number":43,"number":0.1,"day":"2026-01-31",
		"instant":"2026-01-31T23:59:59.123456Z","zoned":"2026-02-01T00:00:00Z","wall":"2026-01-31T23:59:59.5","clock":"23:59:59.5","zoned_clock":"23:59:59+01:00",
		"object":{"a":1,"in":{"b":2.5,"at":"2026-01-01T00:00:00Z","tags":["x","y"]}},"blob":{"k":[1,{"l":null}]},
		"list":[1,2.5,-3],"lists":[[1,2],[],[3]],"objects":[{"day":"2026-01-01","ok":true},{"ok":false}],"any_list":[1,"two",null],"union":"text"`,
		kept: `"blob":"{\"k\":[1,{\"l\":null}]}","any_list":"[1,\"two\",null]","union":"\"text\""`,
	},
	{name: "nulls", sent: `"text":null,"flag":null,"whole":null,"number":null,"day":null,"instant":null,"wall":null,"object":null,"blob":null,"list":null,"objects":null,"union":null`},
	{name: "nothing but the key", sent: ``},
	{name: "nulls inside", sent: `"object":{"a":null,"in":{"b":null,"tags":[null,"x"]}},"list":[null,1,null],"objects":[{"day":null},{}]`},
	{
		name: "empty", sent: `"text":"","object":{},"blob":{},"list":[],"lists":[[]],"objects":[],"any_list":[],"union":""`,
		kept: `"blob":"{}","any_list":"[]","union":"\"\""`,
	},
	{name: "unicode", sent: `"text":"Zoë \ud83d\udc96 \u05d0\u05d1\u05d2 e\u0301 \u0000 \" \\ \n","object":{"in":{"tags":["日本","\ud83e\udd3d\ud83c\udffd"]}},"clock":"☃"`},
	{name: "before 1970", sent: `"day":"1969-12-31","instant":"1969-12-31T23:59:59.999999Z","zoned":"1900-02-28T23:59:59.000001Z","wall":"1582-10-15T00:00:00.25","object":{"in":{"at":"1901-12-13T20:45:51.999Z"}}`},
	{name: "the first", sent: `"day":"0001-01-01","instant":"0001-01-01T00:00:00Z","wall":"0001-01-01T00:00:00"`},
	{name: "the last", sent: `"day":"9999-12-31","instant":"9999-12-31T23:59:59.999999Z","wall":"9999-12-31T23:59:59.999999"`},
	{name: "leap days", sent: `"day":"2000-02-29","instant":"2400-02-29T12:00:00Z","wall":"2024-02-29T23:59:59"`},
	{
		name: "offsets and nanoseconds", sent: `"instant":"2026-01-01T00:30:00+05:30","zoned":"2026-01-01T00:00:00.123456789-08:00"`,
		kept:    `"instant":"2025-12-31T19:00:00Z","zoned":"2026-01-01T08:00:00.123456Z"`,
		changes: []string{"zoned TRUNCATED"},
	},
	{name: "greatest", sent: `"whole":9223372036854775807,"whole_number":-9223372036854775808,"number":99999999999.125`},
	{name: "whole with a fraction of zero", sent: `"whole":44.0,"whole_number":4.5e1,"number":44`, kept: `"whole":44,"whole_number":45`},
	{
		name: "what does not fit", sent: `"whole":"many","flag":"perhaps","day":"2026-02-30","instant":"yesterday","wall":"2026-01-01T00:00:00+02:00","object":[1],"list":{"a":1}`,
		kept:    `"whole":null,"flag":null,"day":null,"instant":null,"wall":null,"object":null,"list":null`,
		changes: []string{"whole NULLED", "flag NULLED", "day NULLED", "instant NULLED", "wall NULLED", "object NULLED", "list NULLED"},
	},
}

func TestEnginesReadEveryType(t *testing.T) {
	t.Parallel()
	for name, variant := range map[string]struct {
		options map[string]any
		types   map[string]string // of the columns that are not as by default
		asJSON  []string          // columns that hold the JSON text instead
	}{
		"defaults": {},
		"decimals": {
			options: map[string]any{"numbers": "decimal"},
			types: map[string]string{
				"number": "decimal(38, 9)", "list": "list<decimal(38, 9)>",
				"object": "struct<a: long, in: struct<b: decimal(38, 9), at: timestamptz, tags: list<string>>>",
			},
		},
		"nested as JSON": {
			options: map[string]any{"nested": "json"},
			types:   map[string]string{"object": "string", "objects": "list<string>"},
			asJSON:  []string{"object", "objects"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t, t.TempDir(), variant.options)
			var schema []string
			var want reading
			var columns []column
			for _, p := range everyType {
				schema = append(schema, fmt.Sprintf("%q:%s", p.name, p.schema))
				kind := p.iceberg
				if other, ok := variant.types[p.name]; ok {
					kind = other
				}
				columns = append(columns, parseColumn(t, p.name, kind))
			}
			columns = slices.Concat(columns, airbyteColumns)
			for _, c := range columns {
				want.Schema = append(want.Schema, [2]string{c.name, c.String()})
			}
			var records []string
			wantRows := map[string]any{}
			for i, v := range everyValue {
				key := fmt.Sprintf(`"id":%d,"part":%d.5`, i, i)
				records = append(records, object(key, v.sent))
				wantRows[fmt.Sprint(i)] = row(t, columns, expected(t, key, v.sent, v.kept, variant.asJSON))
			}
			catalog := l.configure("every_type", `{"type":"object","properties":{`+strings.Join(schema, ",")+`}}`, nil, "id", "part")
			l.write(catalog, messages("every_type", records...))

			got := l.read(map[string]string{"every_type": "id,part"})["every_type"]
			if diff := cmp.Diff(want.Schema, got.Schema); diff != "" {
				t.Errorf("schema (-want +got):\n%s", diff)
			}
			gotRows := map[string]any{}
			for _, r := range got.Rows {
				values := row(t, columns, r)
				wantChanges(t, values, variant.asJSON)
				gotRows[fmt.Sprint(values["id"])] = values
			}
			if diff := cmp.Diff(wantRows, gotRows); diff != "" {
				t.Errorf("rows (-want +got):\n%s", diff)
			}
			if len(got.Rows) != len(everyValue) {
				t.Errorf("%d rows, want %d", len(got.Rows), len(everyValue))
			}
			ours := map[string]any{}
			for _, r := range l.preview("every_type") {
				values := row(t, columns, r)
				wantChanges(t, values, variant.asJSON)
				ours[fmt.Sprint(values["id"])] = values
			}
			if diff := cmp.Diff(gotRows, ours); diff != "" {
				t.Errorf("preview (-engines +ours):\n%s", diff)
			}
		})
	}
}

// object makes a JSON object of lists of members; whitespace is for the reader of this file.
func object(members ...string) string {
	members = slices.DeleteFunc(members, func(m string) bool { return m == "" })
	return "{" + strings.NewReplacer("\n", "", "\t", "").Replace(strings.Join(members, ",")) + "}"
}

// expected is a row as it was sent, but for what is kept differently and for columns that hold JSON text.
func expected(t *testing.T, key, sent, kept string, asJSON []string) any {
	t.Helper()
	want := map[string]any{}
	unmarshal(t, []byte(object(key, sent)), &want)
	var texts map[string]json.RawMessage
	unmarshal(t, []byte(object(sent)), &texts)
	for _, name := range asJSON {
		if want[name] == nil {
			continue
		}
		if name != "objects" {
			want[name] = string(texts[name])
			continue
		}
		var elements []json.RawMessage // a list of JSON texts
		unmarshal(t, texts[name], &elements)
		list := want[name].([]any)
		for i := range list {
			list[i] = string(elements[i])
		}
	}
	var other map[string]any
	unmarshal(t, []byte(object(kept)), &other)
	for name, value := range other {
		if !slices.Contains(asJSON, name) {
			want[name] = value
		}
	}
	return want
}

// wantChanges checks Airbyte's columns and empties them: each value that was sent as something else is told.
func wantChanges(t *testing.T, values map[string]any, asJSON []string) {
	t.Helper()
	var told []string
	for _, change := range values["_airbyte_meta"].(map[string]any)["changes"].([]any) {
		c := change.(map[string]any)
		if c["reason"] == nil {
			t.Errorf("a change of row %v without a reason: %v", values["id"], c)
		}
		told = append(told, fmt.Sprintf("%v %v", c["field"], c["change"]))
	}
	want := slices.Clone(everyValue[values["id"].(int64)].changes)
	want = slices.DeleteFunc(want, func(change string) bool {
		name, _, _ := strings.Cut(change, " ")
		return slices.Contains(asJSON, name)
	})
	slices.Sort(told)
	slices.Sort(want)
	if diff := cmp.Diff(want, told); diff != "" {
		t.Errorf("changes of row %v (-want +got):\n%s", values["id"], diff)
	}
	if values["_airbyte_raw_id"] == nil || fmt.Sprint(values["_airbyte_extracted_at"]) != "2026-01-01 00:00:00.123 +0000 UTC" {
		t.Errorf("row %v: raw id %v, extracted at %v", values["id"], values["_airbyte_raw_id"], values["_airbyte_extracted_at"])
	}
	for _, c := range airbyteColumns {
		values[c.name] = nil
	}
}

// parseColumn reads a type as the engines' scripts write it.
func parseColumn(t *testing.T, name, kind string) column {
	t.Helper()
	c, rest := parseType(kind)
	if rest != "" || c.String() != kind {
		t.Fatalf("%q is no type", kind)
	}
	c.name = name
	return c
}

func parseType(text string) (c column, rest string) {
	if inner, ok := strings.CutPrefix(text, "list<"); ok {
		element, rest := parseType(inner)
		return column{kind: "list", of: []column{element}}, strings.TrimPrefix(rest, ">")
	}
	if rest, ok := strings.CutPrefix(text, "struct<"); ok {
		c.kind = "struct"
		for !strings.HasPrefix(rest, ">") {
			name, kind, _ := strings.Cut(strings.TrimPrefix(rest, ", "), ": ")
			var field column
			field, rest = parseType(kind)
			field.name = name
			c.of = append(c.of, field)
		}
		return c, rest[1:]
	}
	if strings.HasPrefix(text, "decimal") {
		n := strings.Index(text, ")") + 1
		return column{kind: text[:n]}, text[n:]
	}
	n := strings.IndexAny(text, ",>")
	if n < 0 {
		n = len(text)
	}
	return column{kind: text[:n]}, text[n:]
}

const itemSchema = `{"type":"object","properties":{"id":{"type":"integer"},"version":{"type":"integer"},"name":{"type":["null","string"]},
	"_ab_cdc_deleted_at":{"type":["null","string"],"format":"date-time"}}}`

// Many small changes to the same large files, in several commits of several runs: where deletes pile
// up for a data file they must become one file.
func TestEnginesReadUpserts(t *testing.T) {
	t.Parallel()
	for _, upsert := range []string{"merge_on_read", "copy_on_write", "auto"} {
		t.Run(upsert, func(t *testing.T) {
			l := newLake(t, t.TempDir(), map[string]any{"upsert": upsert, "commit": map[string]any{"max_rows": 40}})
			catalog := l.configure("items", itemSchema, []string{"version"}, "id")
			random := rand.New(rand.NewPCG(1, 2))
			want := map[int]string{} // id to name
			var records []string
			version, next := 0, 0
			put := func(id int) {
				version++
				want[id] = fmt.Sprintf("%d at %d", id, version)
				records = append(records, fmt.Sprintf(`{"id":%d,"version":%d,"name":%q}`, id, version, want[id]))
			}
			remove := func(id int) {
				version++
				delete(want, id)
				records = append(records, fmt.Sprintf(`{"id":%d,"version":%d,"_ab_cdc_deleted_at":"2026-01-01T00:00:00Z"}`, id, version))
			}
			for ; next < 3000; next++ {
				put(next)
			}
			l.write(catalog, messages("items", records...))
			for range 4 {
				var input []byte
				for range 3 { // commits in one run
					records = nil
					for range 20 {
						put(random.IntN(next))
						remove(random.IntN(next))
						put(next)
						next++
					}
					input = append(input, withoutStatus(messages("items", records...))...)
				}
				l.write(catalog, append(input, status("items", protocol.Complete)...))
			}

			got := l.read(map[string]string{"items": "id"})["items"]
			names := map[int]string{}
			for _, r := range got.Rows {
				values := row(t, slices.Concat(columnsOf(t, json.RawMessage(itemSchema)), airbyteColumns), r)
				names[int(values["id"].(int64))] = values["name"].(string)
			}
			if diff := cmp.Diff(want, names); diff != "" {
				t.Errorf("rows (-want +got):\n%.2000s", diff)
			}
			if len(got.Rows) != len(want) {
				t.Errorf("%d rows, want %d", len(got.Rows), len(want))
			}
			l.wantDeletes("items", upsert)
		})
	}
}

func withoutStatus(input []byte) []byte {
	return input[:strings.LastIndex(string(input[:len(input)-1]), "\n")+1]
}

// wantDeletes checks the delete files of a table: of one data file each, no two of the same.
func (l *lake) wantDeletes(table, upsert string) {
	l.t.Helper()
	out, err := script(l.t.Context(), "pyiceberg_deletes.py", filepath.Join(l.dir, "catalog.db"), "file://"+l.dir, "whoop."+table)
	if err != nil {
		l.t.Fatal(err)
	}
	var found struct {
		Data    []string
		Deletes map[string]map[string]int
	}
	unmarshal(l.t, out, &found)
	deletes := map[string]string{} // of a data file
	for path, rows := range found.Deletes {
		if len(rows) != 1 {
			l.t.Errorf("%s deletes rows of %d data files", path, len(rows))
		}
		for file := range rows {
			if other, two := deletes[file]; two {
				l.t.Errorf("%s and %s both delete rows of %s", path, other, file)
			}
			if !slices.Contains(found.Data, file) {
				l.t.Errorf("%s deletes rows of %s, which is not in the table", path, file)
			}
			deletes[file] = path
		}
	}
	if upsert == "merge_on_read" && len(deletes) == 0 || upsert == "copy_on_write" && len(deletes) != 0 {
		l.t.Errorf("%d delete files with %s", len(deletes), upsert)
	}
}
