package jsonerrors

import (
	"encoding/json"
	"errors"
	"testing"
)

// The reason names types of JSON, and no value.
func TestReasons(t *testing.T) {
	for _, tc := range []struct {
		raw          string
		reason, want string // want: the type that the value should have
	}{
		{`12345678`, "it is of type number", "object"},
		{`{"list":"secret"}`, "it is of type string", "array"},
		{`{"size":1.5}`, "it is of type number", "integer"},
		{`{"rate":true}`, "it is of type boolean", "number"},
		{`{"name":[]}`, "it is of type array", "string"},
		{`{"on":{}}`, "it is of type object", "boolean"},
		{`{`, "unexpected end of JSON input", ""},
	} {
		var into struct {
			List []string
			Size *int
			Rate float64
			Name string
			On   bool
		}
		err := json.Unmarshal([]byte(tc.raw), &into)
		if got := Reason(err); got != tc.reason {
			t.Errorf("%s: %q, want %q", tc.raw, got, tc.reason)
		}
		if wrong := (*json.UnmarshalTypeError)(nil); errors.As(err, &wrong) && WantedType(wrong) != tc.want {
			t.Errorf("%s must be of type %q, want %q", tc.raw, WantedType(wrong), tc.want)
		}
	}
}
