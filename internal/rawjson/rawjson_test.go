package rawjson

import (
	"bytes"
	"encoding/json"
	"testing"
	"unicode/utf8"
)

var texts = []string{
	`{}`, `[]`, `{"a":1}`, ` { "a" : [ 1 , {"b":"}]"} ] , "c\"\\" : null } `, `[1,"2",{"x":[]},[],true,-1.5e3]`, `""`, `5`, `null`,
	`{"a":1,"a":2}`, `["\\","\"",""]`, "[1,\n2]", `{"":{"":[{}]}}`,
}

// Whatever is valid is taken apart as encoding/json does.
func FuzzParts(f *testing.F) {
	for _, s := range append(texts, `{`, `{"a`, `{"a":`, `[1`, `["`, `[}`, `{"a":1,`, `"\`) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		members := map[string]json.RawMessage{}
		for name, value := range Members(raw) {
			var decoded string
			if err := json.Unmarshal(append(append([]byte{'"'}, name...), '"'), &decoded); err == nil {
				members[decoded] = value
			}
		}
		var elements []json.RawMessage
		for e := range Elements(raw) {
			elements = append(elements, e)
		}
		if !json.Valid(raw) {
			return
		}
		var wantMembers map[string]json.RawMessage
		if json.Unmarshal(raw, &wantMembers) == nil {
			if len(members) != len(wantMembers) {
				t.Errorf("%s has members %s", raw, members)
			}
			for name, want := range wantMembers {
				if !bytes.Equal(members[name], want) {
					t.Errorf("%s: member %q is %s, want %s", raw, name, members[name], want)
				}
			}
		}
		var wantElements []json.RawMessage
		if json.Unmarshal(raw, &wantElements) == nil {
			if len(elements) != len(wantElements) {
				t.Fatalf("%s has elements %s", raw, elements)
			}
			for i, want := range wantElements {
				if !bytes.Equal(elements[i], want) {
					t.Errorf("%s: element %d is %s, want %s", raw, i, elements[i], want)
				}
			}
		}
	})
}

func TestValidEndsAtADepth(t *testing.T) {
	for depth, want := range map[int]bool{deepest: true, deepest + 2: false, 1e6: false} {
		text := append(bytes.Repeat([]byte{'['}, depth), bytes.Repeat([]byte{']'}, depth)...)
		if Valid(text) != want {
			t.Errorf("nested %d deep: %v", depth, !want)
		}
	}
}

// Valid agrees with encoding/json, but for what is no UTF-8.
func FuzzValid(f *testing.F) {
	for _, s := range append(texts, `{`, `{"a"`, `{"a":}`, `{"a":1,}`, `[1,]`, `01`, `-`, `1.`, `1e`, `1E+5`, `"\u12g4"`, "\"\x01\"", `tru`, `nullx`, `1 2`, "\"\xff\"", ``) {
		f.Add([]byte(s))
	}
	f.Fuzz(func(t *testing.T, raw []byte) {
		if want := json.Valid(raw) && utf8.Valid(raw); Valid(raw) != want && bytes.Count(raw, []byte("["))+bytes.Count(raw, []byte("{")) < deepest {
			t.Errorf("%q: valid is %v, want %v", raw, !want, want)
		}
	})
}

func TestIterationsEndEarly(t *testing.T) {
	n := 0
	for range Members([]byte(`{"a":1,"b":2}`)) {
		n++
		break
	}
	for range Elements([]byte(`[1,2]`)) {
		n++
		break
	}
	if n != 2 {
		t.Errorf("%d steps", n)
	}
}
