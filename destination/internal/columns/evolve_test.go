package columns

import (
	"fmt"
	"strconv"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/google/go-cmp/cmp"
)

func TestPropertiesKeepTheirColumns(t *testing.T) {
	type step struct {
		send    string // properties
		key     string // of append_dedup
		names   Names
		before  func(h *history) // what another program does
		want    string           // columns of the properties
		refused string           // in the error
		changes []string
	}
	drop := func(id int) func(h *history) {
		return func(h *history) { h.change(id, func(*iceberg.NestedField) bool { return false }) }
	}
	rename := func(id int, name string) func(h *history) {
		return func(h *history) {
			h.change(id, func(f *iceberg.NestedField) bool { f.Name = name; return true })
		}
	}
	forget := func(h *history) { delete(h.props, mappingKey) }
	partition := func(fields ...string) func(h *history) {
		return func(h *history) { h.partitionFields = append(h.partitionFields, fields...) }
	}
	for name, steps := range map[string][]step{
		"a newcomer gets the suffix": {
			{send: "First·Name text", want: "First Name=first_name"},
			{send: "First·Name text, first_name text", want: "First Name=first_name, first_name=first_name_05416fbf"},
			{send: "first_name text", want: "first_name=first_name_05416fbf"},
			{send: "First·Name text", want: "First Name=first_name"},
		},
		"also in objects and lists": {
			{send: "o {A·b long}, l [{A·b long}]", want: "o{A b=a_b}, l[]{A b=a_b}"},
			{send: "o {a_b long, A·b long}, l [[{x long}]], l2 [{a_b long}]", want: "o{a_b=a_b_648fa9b3, A b=a_b}, l=l_list[][]{x}, l2[]{a_b}"},
			{send: "l [{a_b long, A·b long}]", want: "l[]{a_b=a_b_648fa9b3, A b=a_b}"},
		},
		"a newcomer that another column was called after": {
			{send: "a long", want: "a"},
			{before: rename(1, "b"), send: "a long, b text", want: "a=b, b=b_3e23e816"},
			{before: rename(1, "c"), send: "a long, b text", want: "a=c, b=b_3e23e816"},
		},
		"an object without fields": {
			{send: "o {a text}, b long", want: "o{a}, b"},
			{before: drop(4), send: "b long", refused: "has no fields"},
			{send: "o {a text}, b long", want: "o{a}, b"},
		},
		"twins in a new table": {
			{send: "Id long, id long, ID long", want: "Id=id_12156e92, id, ID=id_3843971d"},
		},
		"the case of a property changes": {
			{send: "Id long, o {aB text}", key: "Id", want: "Id=id, o{aB=ab}"},
			{send: "id long, o {Ab text}", key: "id", want: "id, o{Ab=ab}"},
			{send: "ID long, o {AB text}", key: "ID", want: "ID=id, o{AB=ab}"},
			{send: "Id long", key: "Id", want: "Id=id"},
		},
		"both cases come later": {
			{send: "Id long", want: "Id=id"},
			{send: "id long", want: "id"},
			{send: "id long, Id long", want: "id=id_a5614527, Id=id"},
			{send: "id long", want: "id=id_a5614527"},
			{send: "Id long", want: "Id=id"},
		},
		"two spellings come for one": {
			{send: "Id long", want: "Id=id"},
			{send: "id long, ID long", want: "id=id_a5614527, ID=id_3843971d"},
		},
		"two spellings come for a key": {
			{send: "Id long", key: "Id", want: "Id=id"},
			{send: "id long, ID long", key: "id", refused: "differs only in case"},
		},
		"a key's column is another spelling's": {
			{send: "Id long", key: "Id", want: "Id=id"},
			{send: "id long", key: "id", want: "id"},
			{send: "id long, Id long", key: "id", refused: `was created for "Id"`},
		},
		"names are switched": {
			{send: "Id long, o {aB text, cD text}", names: Preserve, want: "Id, o{aB, cD}"},
			{send: "Id long, o {aB text, cD text, eF text}, gH text", names: Lowercase, want: "Id, o{aB, cD, eF=ef}, gH=gh"},
			{send: "Id long, o {aB text, cD text, eF text, GH text}, gH text", names: Preserve, want: "Id, o{aB, cD, eF=ef, GH}, gH=gh"},
		},
		"text and JSON text": {
			{send: "v text, o {a text}, l [text], m [json]", want: "v, o{a}, l[], m[]"},
			{
				send: "v json, o {a json}, l [json], m [json]", want: "v=v_json, o{a=a_json}, l=l_list[], m[]",
				changes: []string{"l holds lists, lists to l_list", "v holds string, JSON text to v_json", "o.a holds string, JSON text to o.a_json"},
			},
			{send: "v text, o {a text}, l [text], m [json]", want: "v, o{a}, l[], m[]"},
			{send: "v json, o {a json}, l [json], m [json]", want: "v=v_json, o{a=a_json}, l=l_list[], m[]"},
		},
		"JSON text as a key": {
			{send: "v text", key: "v", want: "v"},
			{send: "v json", key: "v", refused: "is part of the primary key and holds string, but now JSON text must be written"},
			{send: "v text", key: "v", want: "v"},
		},
		"text as a key that was JSON text": {
			{send: "v json", key: "v", want: "v"},
			{send: "v text", key: "v", refused: "is part of the primary key and holds JSON text, but now string must be written"},
			{send: "v json", key: "v", want: "v"},
		},
		"the type of a key changes in between": {
			{send: "id long", want: "id"},
			{send: "id text", want: "id=id_string"},
			{send: "id text", key: "id", refused: "is part of the primary key and holds long, but now string must be written"},
			{send: "id long", key: "id", want: "id"},
		},
		"a number is one type": {
			{send: "n decimal, m double", key: "n", want: "n, m"},
			{send: "n double, m decimal", want: "n, m"},
			{send: "n decimal, m decimal", key: "m", want: "n, m"},
		},
		"types that exclude each other": {
			{send: "c text", want: "c"},
			{send: "c long", want: "c=c_long", changes: []string{"c holds string, long to c_long"}},
			{send: "c double", want: "c=c_double", changes: []string{"c holds string, double to c_double"}},
			{send: "c {a text}", want: "c=c_struct{a}", changes: []string{"c holds string, objects to c_struct"}},
			{send: "c {a long}", want: "c=c_struct{a=a_long}", changes: []string{"c holds string, objects to c_struct", "c_struct.a holds string, long to c_struct.a_long"}},
			{send: "c long", want: "c=c_long", changes: []string{"c holds string, long to c_long"}},
			{send: "c text", want: "c"},
		},
		"names of such columns are taken": {
			{send: "c text, C_Long text", want: "c, C_Long=c_long"},
			{send: "c long, c_long_2 long", want: "c=c_long_3, c_long_2"},
		},
		"renamed and dropped by another program": {
			{send: "id long, v text, o {a text}", key: "id", want: "id, v, o{a}"},
			{before: rename(1, "key"), send: "id long, v text, o {a text}", key: "id", want: "id=key, v, o{a}"},
			{before: drop(2), send: "id long, v text, o {a text}", key: "id", want: "id=key, v, o{a}"},
			{before: drop(1), send: "id long, v text", key: "id", refused: "another program has dropped it"},
			{send: "id long, v text", want: "id, v"},
			{send: "id long, v text", key: "id", want: "id, v"},
		},
		"a property that is no longer sent keeps its column": {
			{send: "a long, b text", want: "a, b"},
			{send: "a long", want: "a"},
			{send: "a long, B text", want: "a, B=b"},
			{send: "a long, b text", want: "a, b"},
		},
		"named as Airbyte's and Iceberg's own": {
			{send: "_airbyte_raw_id text, _AIRBYTE_x long, _pos long", want: "_airbyte_raw_id=_airbyte_raw_id_8f649b7c, _AIRBYTE_x=_airbyte_x_f67d496f, _pos=_pos_02d8def1"},
			{before: forget, send: "a long, _pos long, _airbyte_raw_id text, _AIRBYTE_x long", want: "a, _pos=_pos_02d8def1, _airbyte_raw_id=_airbyte_raw_id_8f649b7c, _AIRBYTE_x=_airbyte_x_f67d496f"},
		},
		"named as partition fields": {
			{send: "at text, a text, o {a text}, l [{a text}]", want: "at, a, o{a}, l[]{a}"},
			{
				before: partition("at_month", "a_long", "o.b", "l.b", "l.element.c", "a"),
				send:   "at text, AT_month text, a long, o {a text, b text, at_month text}, l [{a text, b text, c text, at_month text}]",
				want:   "at, AT_month=at_month_3972cf0a, a=a_long_2, o{a, b=b_3e23e816, at_month}, l[]{a, b=b_3e23e816, c=c_2e7d2c03, at_month}",
			},
			{before: partition("at_month_2"), send: "at text, AT_month text, At_Month_2 long", names: Preserve, want: "at, AT_month=at_month_3972cf0a, At_Month_2=At_Month_2_a14ac73f"},
			{before: drop(1), send: "At_Month_2 long", want: "At_Month_2=At_Month_2_a14ac73f"},
		},
		"the column of a partition field is dropped": {
			{send: "a text, b text", want: "a, b"},
			{before: partition("a"), send: "a text, b text", want: "a, b"},
			{before: drop(1), send: "a text, b text", want: "a=a_ca978112, b"},
		},
		"a partition field is named as one of Airbyte's own": {
			{send: "a text", want: "a"},
			{before: partition("_airbyte_raw_id"), send: "a text", want: "a"},
			{before: drop(2), send: "a text", refused: "a partition field has its name"},
		},
		"a table that has lost its mapping": {
			{send: "First·Name text, v text, s long", want: "First Name=first_name, v, s"},
			{send: "First·Name text, v long, first_name text, s double", want: "First Name=first_name, v=v_long, first_name=first_name_05416fbf, s=s_double"},
			{before: forget, send: "first_name text, v long, First·Name text, s long", want: "first_name=first_name_05416fbf, v=v_long, First Name=first_name, s"},
			{send: "v text", want: "v"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := &history{t: t}
			for i, s := range steps {
				if s.before != nil {
					s.before(h)
				}
				h.names, h.key = s.names, nil
				if s.key != "" {
					h.key = []string{s.key}
				}
				was, props := h.have, h.props[mappingKey]
				got, err := h.send(s.send)
				switch {
				case s.refused != "":
					if err == nil || !strings.Contains(err.Error(), s.refused) {
						t.Errorf("step %d: %s, error %v, want %q", i+1, got, err, s.refused)
					}
					if h.have != was || h.props[mappingKey] != props {
						t.Errorf("step %d changed the table", i+1)
					}
				case err != nil:
					t.Errorf("step %d: %v", i+1, err)
				case got != s.want:
					t.Errorf("step %d: %s\nwant: %s\n%s", i+1, got, s.want, h.have)
				case s.changes != nil:
					if diff := cmp.Diff(s.changes, h.changes); diff != "" {
						t.Errorf("step %d: %s", i+1, diff)
					}
				}
			}
		})
	}
}

// Thousands of columns are added in a time that grows as they do.
func BenchmarkEvolve(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			var want Wanted
			for i := range n {
				want.Properties = append(want.Properties, iceberg.NestedField{ID: i + 1, Name: fmt.Sprint("Property ", i), Type: iceberg.PrimitiveTypes.String})
			}
			evolved, err := Create(want)
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if evolved, err = Evolve(want, evolved.Schema, n, nil, iceberg.Properties{mappingKey: evolved.mapping}, true); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
