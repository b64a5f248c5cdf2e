package columns

import (
	"maps"
	"testing"

	"github.com/apache/iceberg-go"
)

// A description that changes at the source changes the doc, also inside objects. A doc
// that somebody else wrote stays.
func TestDocsFollowTheDescriptions(t *testing.T) {
	text := iceberg.PrimitiveTypes.String
	want := func(doc, inner string) Wanted {
		return Wanted{Names: Lowercase, Properties: []iceberg.NestedField{
			{ID: 1, Name: "a", Type: text, Doc: doc},
			{ID: 2, Name: "First Name", Type: text, Doc: doc},
			{ID: 3, Name: "o", Type: &iceberg.StructType{FieldList: []iceberg.NestedField{{ID: 4, Name: "b", Type: text, Doc: inner}}}},
		}}
	}
	table := struct {
		have  *iceberg.Schema
		props iceberg.Properties
	}{props: iceberg.Properties{}}
	send := func(w Wanted) {
		t.Helper()
		evolved, err := Create(w)
		if table.have != nil {
			evolved, err = Evolve(w, table.have, table.have.HighestFieldID(), nil, table.props, true)
		}
		if err != nil {
			t.Fatal(err)
		}
		set, _ := evolved.Properties(table.props)
		maps.Copy(table.props, set)
		table.have = evolved.Schema
	}
	expect := func(when string, docs ...string) {
		t.Helper()
		for i, column := range []string{"a", "first_name", "o.b"} {
			if f, ok := table.have.FindFieldByName(column); !ok || f.Doc != docs[i] {
				t.Errorf("%s: the doc of %s is %q, want %q", when, column, f.Doc, docs[i])
			}
		}
	}
	comment := func(at int, doc string) {
		fields := table.have.Fields()
		fields[at].Doc = doc
		table.have = iceberg.NewSchema(0, fields...)
	}
	send(want("one", "in"))
	expect("new", "one", "First Name: one", "in")
	send(want("two", "inside"))
	expect("other descriptions", "two", "First Name: two", "inside")
	send(want("", ""))
	expect("no descriptions", "two", "First Name: two", "inside")
	comment(0, "mine")
	comment(1, "First Name, as it is spelled at home")
	send(want("three", "inner"))
	expect("comments of somebody", "mine", "First Name, as it is spelled at home", "inner")
	comment(0, "")
	send(want("three", "inner"))
	expect("a comment that was removed", "three", "First Name, as it is spelled at home", "inner")
	send(want("four", "inner"))
	expect("and is this program's again", "four", "First Name, as it is spelled at home", "inner")
	delete(table.props, docsKey)
	send(want("five", "i"))
	expect("a table that is older than the record", "five", "First Name: five", "i")
	was := maps.Clone(table.props)
	send(want("five", "i"))
	if !maps.Equal(was, table.props) {
		t.Errorf("the same once more changes %v to %v", was, table.props)
	}
}

// The record is on disks: it must stay readable. Of another program's table, it has what
// this program wrote.
func TestWhatATableRecordsOfDocs(t *testing.T) {
	text := iceberg.PrimitiveTypes.String
	have := iceberg.NewSchema(0, iceberg.NestedField{ID: 1, Name: "a", Type: text, Doc: "theirs"}, iceberg.NestedField{ID: 2, Name: "b", Type: text})
	w := Wanted{Names: Lowercase, Properties: []iceberg.NestedField{{ID: 1, Name: "a", Type: text, Doc: "ours"}, {ID: 2, Name: "b", Type: text, Doc: "ours"}}}
	evolved, err := Evolve(w, have, 2, nil, iceberg.Properties{}, false)
	if err != nil {
		t.Fatal(err)
	}
	set, _ := evolved.Properties(iceberg.Properties{})
	if want := `{"2":"7f1dcae3"}`; set[docsKey] != want {
		t.Errorf("%s, want %s", set[docsKey], want)
	}
	if _, err := Evolve(w, have, 2, nil, iceberg.Properties{docsKey: "["}, false); err == nil {
		t.Error("a record that cannot be read is accepted")
	}
}
