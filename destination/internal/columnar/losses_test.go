package columnar

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func lossesOf(batches ...*Batch) Losses {
	l := NewLosses()
	for _, b := range batches {
		b.AddTo(l)
	}
	return *l
}

func TestLossesAreCounted(t *testing.T) {
	schema := properties(`"i":{"type":"integer"},"at":{"type":"string","format":"date-time"},"s":{"type":"string"},"name":{"type":"string"},` +
		`"o":{"type":"object","properties":{"i":{"type":"integer"}}},"l":{"type":"array","items":{"type":"object","properties":{"i":{"type":"integer"}}}}`)
	for name, tc := range map[string]struct {
		records []string
		want    Losses
	}{
		"none":                        {[]string{`{"i":1,"s":"x","o":{"i":2},"l":[{"i":3}]}`}, Losses{}},
		"values that do not fit":      {[]string{`{"i":"x"}`, `{"i":1.5}`, `{"o":{"i":"x"}}`, `{"i":null}`}, Losses{Nulled: map[string]int64{"i": 2, "o.i": 1}}},
		"one row, several elements":   {[]string{`{"l":[{"i":"x"},{"i":"y"},{}]}`}, Losses{Nulled: map[string]int64{"l.i": 1}}},
		"the last of equal names":     {[]string{`{"i":"x","i":1}`, `{"i":1,"i":"x"}`}, Losses{Nulled: map[string]int64{"i": 1}}},
		"values that are adjusted":    {[]string{`{"at":"2024-01-01T00:00:00.1234567Z"}`, `{"s":"\ud800"}`}, Losses{Adjusted: map[string]int64{"at": 1, "s": 1}}},
		"properties without a column": {[]string{`{"x":1,"nam":"a"}`, `{"x":2,"o":{"i":1,"ii":2},"l":[{"j":1}]}`}, Losses{LeftOut: map[string]string{"x": "", "nam": "name", "o.ii": "i", "l.j": ""}}},
		"nulls without a column":      {[]string{`{"x":null,"o":{"ii": null}}`}, Losses{}},
		"too many to remember":        {[]string{`{"` + strings.Repeat("x", maxUnknownName+1) + `":1}`}, Losses{More: true}},
	} {
		t.Run(name, func(t *testing.T) {
			want := lossesOf()
			want.More = tc.want.More
			for _, m := range []struct{ from, to map[string]int64 }{{tc.want.Nulled, want.Nulled}, {tc.want.Adjusted, want.Adjusted}} {
				for k, n := range m.from {
					m.to[k] = n
				}
			}
			for k, near := range tc.want.LeftOut {
				want.LeftOut[k] = near
			}
			var one Decoder
			b := newTestBatch(t, stream(schema), Options{})
			for _, r := range tc.records {
				if err := one.Decode([]byte(recordLine(r)), 1, 1, to(b)); err != nil {
					t.Fatal(err)
				}
			}
			if diff := cmp.Diff(want, lossesOf(b)); diff != "" {
				t.Error(diff)
			}
			b.Reset() // its rows are in a file
			for _, r := range tc.records {
				if err := one.Decode([]byte(recordLine(r)), 1, 1, to(b)); err != nil {
					t.Fatal(err)
				}
			}
			other := newTestBatch(t, stream(schema), Options{}) // of another worker
			if err := new(Decoder).Decode([]byte(recordLine(`{"i":"x"}`)), 1, 1, to(other)); err != nil {
				t.Fatal(err)
			}
			for _, m := range []map[string]int64{want.Nulled, want.Adjusted} {
				for k := range m {
					m[k] *= 2
				}
			}
			want.Nulled["i"]++
			if diff := cmp.Diff(want, lossesOf(b, other)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Changes that a source reports are its own matter, and a run that is decoded twice, because
// a line of it is broken, is counted once.
func TestLossesAreThoseOfRowsThatAreKept(t *testing.T) {
	batches, route := batchesOf(layoutsOfRuns(t))
	line := func(stream, data, more string) string {
		return `{"type":"RECORD","record":{"stream":"` + stream + `","data":` + data + more + `}}` + "\n"
	}
	reported := `,"meta":{"changes":[{"field":"b","change":"NULLED","reason":"SOURCE_RETRIEVAL_ERROR"}]}`
	lines := line("s", `{"i":"x"}`, "") + line("u", `{"i":"x"}`, reported) + line("s", `{"i":"x"}`, "") + line("u", `{"i":1,}`, "")
	if err := new(Decoder).Decode([]byte(lines), 1, 1, route); err == nil || !strings.Contains(err.Error(), "ine 4 ") {
		t.Fatalf("error %v", err)
	}
	if diff := cmp.Diff(map[string]int64{"i": 2}, lossesOf(batches["/s"]).Nulled); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff(map[string]int64{"i": 1}, lossesOf(batches["/u"]).Nulled); diff != "" {
		t.Error(diff)
	}
}

func TestWarningsNameAFewProperties(t *testing.T) {
	for _, tc := range []struct {
		lost Losses
		want []string
	}{
		{Losses{}, nil},
		{Losses{Nulled: map[string]int64{"b": 1, "a": 1, "c": 1200}}, []string{": c in 1,200 rows, a in 1 row, b in 1 row. The column"}},
		{
			Losses{Adjusted: map[string]int64{"a": 1}, LeftOut: map[string]string{"x": "", "nam": "name", "c": "", "d": "", "e": "", "f": "", "g": ""}},
			[]string{": a in 1 row. The column", `: "c", "d", "e", "f", "g", and 2 more. To keep`},
		},
		{Losses{LeftOut: map[string]string{"nam": "name"}, More: true}, []string{`: "nam" (did you mean "name"?), and others. To keep`}},
		{Losses{More: true}, []string{": some with names of more than 256 bytes. To keep"}},
	} {
		got := tc.lost.Warnings()
		if len(got) != len(tc.want) {
			t.Errorf("%+v: %q", tc.lost, got)
			continue
		}
		for i, want := range tc.want {
			if !strings.Contains(got[i], want) {
				t.Errorf("%q does not say %q", got[i], want)
			}
		}
	}
}
