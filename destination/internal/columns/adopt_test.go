package columns

import (
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
)

// table gives a history a table that is there: columns as parser reads them,
// with docs by their names.
func (h *history) table(columns string, docs map[string]string, made bool) {
	p := &parser{text: columns, json: map[int]bool{}}
	fields := p.fields()
	for i := range fields {
		fields[i].Doc = docs[fields[i].Name]
	}
	h.made, h.props, h.have = made, iceberg.Properties{}, iceberg.NewSchema(0, append(fields,
		iceberg.NestedField{ID: p.next(), Name: "_airbyte_raw_id", Type: iceberg.PrimitiveTypes.String, Required: true})...)
}

func TestTablesWithoutAMappingAreAdopted(t *testing.T) {
	for name, tt := range map[string]struct {
		columns string
		docs    map[string]string
		made    bool // by this program
		send    []string
		want    []string
	}{
		"another program's, called as the properties": {
			"id long, First_Name text, userId text, o {aB text}", nil, false,
			[]string{"id long, First·Name text, userId text, o {aB text}", "First_Name text, First·Name text"},
			[]string{"id, First Name=First_Name, userId, o{aB}", "First_Name=first_name_e85c1002, First Name=First_Name"},
		},
		"another program's, without case": {
			"ID long, o {AB text}", nil, false,
			[]string{"id long, o {aB text}", "ID long", "id long, Id text"},
			[]string{"id=ID, o{aB=AB}", "ID", "id=ID, Id=id_12156e92"},
		},
		"another program's, of other types": {
			"a int, b float, c decimal20, d date", nil, false,
			[]string{"a long, b double, c double, d text"},
			[]string{"a, b, c, d=d_string"},
		},
		"another program's docs say nothing": {
			"first_name text",
			map[string]string{"first_name": "First Name"},
			false,
			[]string{"first_name text"},
			[]string{"first_name"},
		},
		"docs tell the property": {
			"first_name text, first_name_05416fbf text",
			map[string]string{"first_name": "First Name", "first_name_05416fbf": "first_name"},
			true,
			[]string{"first_name text", "First·Name text"},
			[]string{"first_name=first_name_05416fbf", "First Name=first_name"},
		},
		"docs of other types": {
			"score double, score_string text, o {a long}, l [text]",
			map[string]string{"score_string": "score"},
			true,
			[]string{"score text, l [json]", "score double, l [text]"},
			[]string{"score=score_string, l[]", "score, l=l_list[]"},
		},
		"an old doc that belongs to another property": {
			"first_name text",
			map[string]string{"first_name": "First Name"},
			true,
			[]string{"first_name text, First·Name text"},
			[]string{"first_name=first_name_05416fbf, First Name=first_name"},
		},
		"a property that comes back": {
			"a long, userid text",
			map[string]string{"userid": "UserId"},
			true,
			[]string{"a long", "UserId json", "UserId text"},
			[]string{"a", "UserId=userid", "UserId=userid_string"},
		},
		"a doc that is a description": {
			"a text",
			map[string]string{"a": "what a is: a thing"},
			true,
			[]string{"a text"},
			[]string{"a"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := &history{t: t}
			h.table(tt.columns, tt.docs, tt.made)
			for i, s := range tt.send {
				got, err := h.send(s)
				if err != nil || got != tt.want[i] {
					t.Errorf("%q: %s, want %s, error %v", s, got, tt.want[i], err)
				}
			}
		})
	}
}

// The format is on disks: what is recorded must stay readable.
func TestWhatATableRecords(t *testing.T) {
	h := &history{t: t}
	for _, step := range []struct{ send, want string }{
		{"Id long, v text", `[{"id":1,"property":"Id"},{"id":2,"property":"v"}]`},
		{"id long, v json", `[{"id":1,"property":"Id"},{"id":2,"property":"v"},{"id":1,"property":"id"},{"id":4,"property":"v","holds":"json"}]`},
		{"o {a json}, l [json], m [{b text}]", `[{"id":1,"property":"Id"},{"id":2,"property":"v"},{"id":1,"property":"id"},{"id":4,"property":"v","holds":"json"},` +
			`{"id":5,"property":"o"},{"id":6,"property":"l"},{"id":7,"property":"m"},{"id":8,"in":5,"property":"a","holds":"json"},{"id":9,"in":6,"holds":"json"},{"id":11,"in":10,"property":"b"}]`},
	} {
		if _, err := h.send(step.send); err != nil || h.props[mappingKey] != step.want {
			t.Errorf("%s\nwant %s\nerror %v", h.props[mappingKey], step.want, err)
		}
	}
	h = &history{t: t}
	h.table("First_Name text, left text, l [text]", nil, false)
	for _, step := range []struct{ send, want string }{
		{"First·Name text", `[{"id":1,"property":"First Name"},{"id":2,"property":"left","holds":"unknown"},{"id":3,"property":"l"},{"id":4,"in":3,"holds":"unknown"}]`},
		{"left json, l [text]", `[{"id":1,"property":"First Name"},{"id":2,"property":"left","holds":"unknown"},{"id":3,"property":"l"},{"id":4,"in":3,"holds":"unknown"},` +
			`{"id":2,"property":"left","holds":"json"},{"id":4,"in":3}]`},
	} {
		if _, err := h.send(step.send); err != nil || h.props[mappingKey] != step.want {
			t.Errorf("%s\nwant %s\nerror %v", h.props[mappingKey], step.want, err)
		}
	}
	h = &history{t: t}
	if _, err := h.send(""); err != nil || h.props[mappingKey] != "[]" {
		t.Errorf("without properties: %s, error %v", h.props[mappingKey], err)
	}
}

func TestMovedColumnsAreSuperseded(t *testing.T) {
	h := &history{t: t}
	h.table("c text, c_long long", map[string]string{"c_long": "c"}, true)
	h.props[movedKey] = `{"c_long":"c"}`
	if got, err := h.send("c long"); got != "c=c_long" || err != nil {
		t.Errorf("%s, error %v", got, err)
	}
	if _, there := h.props[movedKey]; there {
		t.Error("the old property is still there")
	}
}

// A doc is the description of a property, after its name where that is not the
// column's or the description could be taken for one.
func TestDocsTellThePropertyAndWhatItIs(t *testing.T) {
	text := iceberg.PrimitiveTypes.String
	for _, tt := range []struct{ property, column, description, want string }{
		{"id", "id", "", ""},
		{"id", "id", "The id of the thing.", "The id of the thing."},
		{"First Name", "first_name", "", "First Name"},
		{"First Name", "first_name", "As given: no titles.", "First Name: As given: no titles."},
		{"first_name", "first_name", "First Name", "first_name: First Name"},
		{"first_name", "first_name", "FIRST NAME: as given", "first_name: FIRST NAME: as given"},
		{"a: b", "a__b", "c: d", "a: b: c: d"},
		{"v", "v_string", "Any value.", "v: Any value."},
		{"v", "v_json_2", "", "v"},
		{"x", "x_2d711642", "", "x"},
	} {
		doc := docOf(tt.property, tt.column, text, tt.description)
		if doc != tt.want {
			t.Errorf("%+v: doc %q", tt, doc)
		}
		if got := documentedProperty(tt.column, text, doc); got != tt.property {
			t.Errorf("%+v: property %q", tt, got)
		}
	}
}

func FuzzDocs(f *testing.F) {
	f.Add("First Name", "as given")
	f.Add("a: b", "A__B: c")
	f.Add("", ": ")
	f.Fuzz(func(t *testing.T, property, description string) {
		if strings.Contains(property, "\x00") {
			return // see unique
		}
		for _, names := range []Names{Lowercase, Preserve} {
			column := names.columns([]string{property}, true, map[string]bool{})[0]
			doc := docOf(property, column, iceberg.PrimitiveTypes.String, description)
			if got := documentedProperty(column, iceberg.PrimitiveTypes.String, doc); got != property {
				t.Errorf("column %q with doc %q is of %q, not %q", column, doc, got, property)
			}
		}
	})
}
