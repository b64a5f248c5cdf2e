package protocoltest

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestSpecProblems(t *testing.T) {
	const (
		a       = `"type":"string","title":"A","description":"A."`
		option  = `{"type":"object","title":"T","additionalProperties":true,"required":["kind"],"properties":{"kind":{"type":"string","const":%q,"order":0}}}`
		choices = `{"c":{"type":"object","title":"C","description":"C.","order":0,"additionalProperties":true,"oneOf":[%s,%s]}}`
	)
	x, y := fmt.Sprintf(option, "x"), fmt.Sprintf(option, "y")
	for _, tt := range []struct {
		name       string
		properties string
		more       string // members of the root
		want       string // the test that finds the only problem; "": there is none
	}{
		{name: "a property", properties: `{"a":{` + a + `,"order":0}}`},
		{name: "alternatives", properties: fmt.Sprintf(choices, x, y)},
		{name: "a secret", properties: `{"token":{` + a + `,"order":0,"airbyte_secret":true}}`},
		{name: "a date", properties: `{"a":{` + a + `,"order":0,"format":"date","pattern":"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}}`},

		{name: "a keyword that forms do not know", properties: `{"a":{` + a + `,"order":0,"not":{}}}`, want: "test_forbidden_complex_types"},
		{name: "a reference", properties: `{"a":{` + a + `,"order":0,"$ref":"#"}}`, want: "test_defined_refs_exist_in_json_spec_file"},
		{name: "two types", properties: `{"a":{"type":["string","integer"],"title":"A","description":"A.","order":0}}`, want: "test_property_type_is_not_array"},
		{name: "a display type of no alternatives", properties: `{"a":{` + a + `,"order":0,"display_type":"radio"}}`, want: "test_display_type"},
		{name: "a group below", properties: `{"o":{"type":"object","title":"O","description":"O.","order":0,"additionalProperties":true,"properties":{"a":{` + a + `,"order":0,"group":"g"}}}}`, want: "test_nested_group"},
		{name: "no other properties", properties: `{"o":{"type":"object","title":"O","description":"O.","order":0,"properties":{"a":{` + a + `,"order":0}}}}`, want: "test_additional_properties_is_true"},
		{name: "an object without properties", properties: `{"o":{"type":"object","title":"O","description":"O.","order":0,"additionalProperties":true}}`, want: "test_object_not_empty"},
		{name: "items without type", properties: `{"a":{"type":"array","items":[],"title":"A","description":"A.","order":0}}`, want: "test_array_type"},
		{name: "one order for two", properties: `{"a":{` + a + `,"order":0},"b":{` + a + `,"order":0}}`, want: "test_duplicate_order"},
		{name: "no order", properties: `{"a":{` + a + `}}`, want: "forms"},
		{name: "no description", properties: `{"a":{"type":"string","title":"A","order":0}}`, want: "forms"},
		{name: "a missing property", properties: `{"a":{` + a + `,"order":0}}`, more: `,"required":["b"]`, want: "forms"},
		{name: "an open secret", properties: `{"token":{` + a + `,"order":0}}`, want: "test_secret_is_properly_marked"},
		{name: "a date without pattern", properties: `{"a":{` + a + `,"order":0,"format":"date"}}`, want: "test_date_pattern"},
		{name: "a pattern of something else", properties: `{"a":{` + a + `,"order":0,"format":"date-time","pattern":"^[0-9]{4}$"}}`, want: "test_date_pattern"},
		{name: "a date without format", properties: `{"a":{` + a + `,"order":0,"pattern":"^[0-9]{4}-[0-9]{2}-[0-9]{2}$"}}`, want: "test_date_format"},
		{name: "a value twice", properties: `{"a":{` + a + `,"order":0,"enum":["a","a"]}}`, want: "test_enum_usage"},
		{name: "a default that is no value", properties: `{"a":{` + a + `,"order":0,"enum":["a"],"default":"b"}}`, want: "forms"},
		{name: "equal alternatives", properties: fmt.Sprintf(choices, x, x), want: "test_oneof_usage"},
		{name: "an alternative that nothing tells apart", properties: fmt.Sprintf(choices, x, `{"type":"object","title":"T","additionalProperties":true,"properties":{"a":{`+a+`,"order":0}}}`), want: "test_oneof_usage"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			spec := `{"connectionSpecification":{"$schema":"http://json-schema.org/draft-07/schema#","type":"object","title":"S","additionalProperties":true,"properties":` + tt.properties + tt.more + `}}`
			problems := SpecProblems(json.RawMessage(spec))
			var got, want []string
			for test, list := range problems {
				got = append(got, slices.Repeat([]string{test}, len(list))...)
			}
			if tt.want != "" {
				want = []string{tt.want}
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%v (-want +got):\n%s", problems, diff)
			}
		})
	}
}
