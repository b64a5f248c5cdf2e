package jsonscan

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode/utf8"
)

// FuzzScan holds what is read of a line against encoding/json.
func FuzzScan(f *testing.F) {
	for _, text := range []string{
		`{"a":[1,{"b":null}],"c":"\u00e9"}`, `[[[]]]`, `[1,]`, `{"a"}`, `-0.5e+3`, `01`, `tru`, `"\ud83d\ude00"`, `"\ud83d"`, `"\x"`, "\"\xff\"", "\"\t\"",
		`"long enough that words are read at once, é"`, strings.Repeat("[", 70) + strings.Repeat("]", 70), `{"a":1]`, ` {} `, `{} {}`,
	} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if strings.ContainsAny(text, "\n") {
			return // it is not one line
		}
		line := []byte(text + "\n")
		end, _ := SkipNested(line, 0)
		whole := end > 0 && line[Space(line, end)] == '\n'
		if valid := json.Valid([]byte(text)); valid != whole {
			t.Fatalf("%q: it is JSON: %t, and it was passed up to %d", text, valid, end)
		}
		if !whole {
			return
		}
		start := Space(line, 0)
		if line[start] != '"' {
			return
		}
		var want string
		if err := json.Unmarshal([]byte(text), &want); err != nil {
			t.Fatal(err)
		}
		got, next, replaced := AppendString(nil, line, start+1)
		if string(got) != want || next != end {
			t.Fatalf("%q: got %q up to %d, want %q up to %d", text, got, next, want, end)
		}
		if quote, plain := PlainString(line, start+1); plain != (!strings.Contains(text, `\`) && utf8.ValidString(text)) || plain && (replaced || string(line[start+1:quote]) != want) {
			t.Fatalf("%q: plain %t, replaced %t", text, plain, replaced)
		}
	})
}

func TestTheDepthOfAValue(t *testing.T) {
	for text, want := range map[string]int{`1`: 0, `"[["`: 0, `[]`: 1, `{"a":{}}`: 2, `[1,[2],[[3]]]`: 3, strings.Repeat("[", 1100) + strings.Repeat("]", 1100): 1100} {
		if _, depth := SkipNested([]byte(text+"\n"), 0); depth != want {
			t.Errorf("%.20q: depth %d, want %d", text, depth, want)
		}
	}
}
