package columnar

import (
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

func TestEnvelopesInAnyOrder(t *testing.T) {
	def := newTestBatch(t, stream(properties(`"v":`+integerType)), Options{})
	ns := newTestBatch(t, stream(properties(`"v":`+integerType)), Options{})
	route := func(namespace, name []byte) (*Batch, error) {
		switch string(namespace) + "/" + string(name) {
		case "/s":
			return def, nil
		case "n/s":
			return ns, nil
		}
		return nil, nil
	}
	lines := strings.Join([]string{
		`{"type":"RECORD","record":{"stream":"s","namespace":null,"emitted_at":1700000000001,"data":{"v":0}}}`,
		`{"type":"RECORD","record":{"namespace":"n","stream":"s","data":{"v":100},"emitted_at":1700000000002}}`,
		`{"type":"RECORD","record":{"data":{"v":1},"stream":"s","emitted_at":1700000000003,"namespace":""}}`,
		`{"type":"RECORD","record":{"stream":"s","data":{"v":101},"namespace":"n","emitted_at":1.7e12}}`,
		`{"type":"RECORD","record":{"stream":"s","data":{"v":102},"namespace":"n","emitted_at":1700000000}}`,
		`{"type":"RECORD","record":{"stream":"s","data":{"v":2},"emitted_at":1700000000.25}}`,
		`{"record":{"stream":"\u0073","data":{"v":3},"emitted_at":null,"other":{"v":[1,{}]}},"extra":[],"type":"\u0052ECORD"}`,
		" {\t\"type\" : \"RECORD\" , \"record\" : { \"stream\" : \"s\" , \"emitted_at\" : 0 , \"data\" : { \"v\" : 4 } } } \r",
		`{"type":"LOG","type":"RECORD","record":{"stream":"x","stream":"s","data":{"v":9},"data":{"v":5},"emitted_at":-1}}`,
		`{"type":"RECORD","record":{"stream":"s","data":{"v":9}},"record":{"stream":"s","data":{"v":6},"emitted_at":1e300}}`,
		`{"type":"RECORD","record":{"stream":"s","data":{"v":103},"namespace":"x","namespace":"n"}}`,
	}, "\n") // the last one without a line feed
	var d Decoder
	if err := d.Decode([]byte(lines), 1, 0, route); err != nil {
		t.Fatal(err)
	}
	// A record that does not say when it was read was read when it came.
	arrived := time.UnixMicro(d.arrived).UTC().Format(time.RFC3339Nano)
	if diff := cmp.Diff([]string{"v=0", "v=1", "v=2", "v=3", "v=4", "v=5", "v=6"}, rowsOf(t, def)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"v=100", "v=101", "v=102", "v=103"}, rowsOf(t, ns)); diff != "" {
		t.Error(diff)
	}
	times := func(b *Batch) (all []string) {
		rec := b.Record()
		c := rec.Column(int(rec.NumCols()) - airbyteColumns + extractedAtColumn)
		for i := range c.Len() {
			all = append(all, c.ValueStr(i))
		}
		return all
	}
	if diff := cmp.Diff([]string{
		"2023-11-14T22:13:20.001Z", "2023-11-14T22:13:20.003Z", "2023-11-14T22:13:20.25Z", arrived,
		"1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", arrived,
	}, times(def)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"2023-11-14T22:13:20.002Z", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z", arrived}, times(ns)); diff != "" {
		t.Error(diff)
	}
}

// What a decoder remembers of a line must not change what the next one means.
func TestLinesMeanTheSameAfterAnyOther(t *testing.T) {
	long := strings.Repeat("x", 2*maxHead)
	lines := []string{
		`{"type":"RECORD","record":{"stream":"s","emitted_at":1700000000001,"data":{"v":1}}}`,
		`{"type":"RECORD","record":{"stream":"s","emitted_at":1700000000002,"data":{"v":2}},"type":"LOG"}`,
		`{"type":"RECORD","record":{"stream":"s","emitted_at":1700000000003,"data":{"v":3},"namespace":"n"}}`,
		`{"type":"RECORD","record":{"stream":"s","emitted_at":1700000000004,"stream":"r","data":{"v":4}}}`,
		`{"type":"RECORD","record":{"stream":"s","namespace":"n","data":{"v":5},"emitted_at":1}}`,
		`{"type":"RECORD","record":{"stream":"s","namespace":"n","namespace":null,"data":{"v":6}}}`,
		`{"type":"RECORD","record":{"stream":"\u0073","data":{"v":7}}}`,
		`{"type":"RECORD","record":{"stream":"s"},"record":{"stream":"s","data":{"v":8}}}`,
		`{"type":"RECORD","record":{"stream":"s","data":{"v":9}},"record":{"stream":"r","emitted_at":1,"data":{"v":10}}}`,
		`{"type":"RECORD","record":{"stream":"s"}}`,
		`{"type":"RECORD","record":{"stream":"s","emitted_at":}}`,
		`{"type":"LOG","record":{"stream":"s","emitted_at":1700000000001,"data":{"v":11}}}`,
		`{"type":"LOG","record":{"stream":"s","emitted_at":1700000000001,"data":{"v":12}},"type":"RECORD"}`,
		`{"record":{"stream":"s","emitted_at":1700000000001,"data":{"v":13}},"type":"RECORD"}`,
		`{"type":"RECORD","record":{"meta":{"changes":[]},"stream":"s","data":{"v":14}}}`,
		`{"type":"RECORD","record":{"stream":"s","data":{"v":15}}, "more":"` + long + `"}`,
		`{"type":"RECORD","more":"` + long + `","record":{"stream":"s","data":{"v":16}}}`,
	}
	// decoded shows the rows of all streams after some lines, and what is wrong with a line.
	decoded := func(decoders []*Decoder, lines ...string) (all []string) {
		batches := map[string]*Batch{}
		for _, key := range []string{"/s", "n/s", "/r"} {
			batches[key] = newTestBatch(t, stream(properties(`"v":`+integerType)), Options{})
		}
		route := func(namespace, name []byte) (*Batch, error) { return batches[string(namespace)+"/"+string(name)], nil }
		for i, line := range lines {
			text := []byte(line + "\n")
			if err := decoders[i].Decode(text, 1, 0, route); err != nil {
				all = append(all, err.Error())
			}
			clear(text) // as blocks of input are used again
		}
		for key, b := range batches {
			extracted := b.Record().Column(1 + extractedAtColumn)
			for i, row := range rowsOf(t, b) {
				if at := extracted.ValueStr(i); at < "2024" {
					row += " " + at
				}
				all = append(all, key+" "+row)
			}
		}
		slices.Sort(all)
		return all
	}
	for _, first := range lines {
		for _, second := range lines {
			var d Decoder
			got := decoded([]*Decoder{&d, &d, &d}, first, second, first)
			want := decoded([]*Decoder{{}, {}, {}}, first, second, first)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("%s\nthen %s\n%s", first, second, diff)
			}
		}
	}
}
