package columnar

import (
	"cmp"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// layoutsOfRuns are those of streams with a column of each kind, of which one is deduplicated.
func layoutsOfRuns(t testing.TB) map[string]*Layout {
	layouts := map[string]*Layout{}
	for _, name := range []string{"/s", "/t", "n/s", "/u"} {
		s := stream(fuzzSchema)
		if name == "/t" {
			s.DestinationSyncMode, s.PrimaryKey = protocol.AppendDedup, [][]string{{"i"}}
		}
		layouts[name] = newTestBatch(t, s, Options{}).layout
	}
	return layouts
}

func batchesOf(layouts map[string]*Layout) (batches map[string]*Batch, route func(namespace, name []byte) (*Batch, error)) {
	batches = map[string]*Batch{}
	for name, l := range layouts {
		batches[name] = NewBatch(l, RowMeta{})
	}
	return batches, func(namespace, name []byte) (*Batch, error) { return batches[string(namespace)+"/"+string(name)], nil }
}

// randomLine is a RECORD of one of the streams, now and then in an unusual form, and a
// broken one for one in so many.
func randomLine(r *rand.Rand, brokenIn int) string {
	data := []string{
		`{"i":%d}`, `{"i":%d,"s":"x","b":true,"n":1.5}`, `{"b":false,"i":%d,"l":[1,2],"lo":[{"s":"a"},{}]}`, `{"i":%d,"o":{"i":5,"s":"y"},"d":"2024-02-29"}`,
		`{"i":%d,"n":"no number","s":"text"}`, `{"o":null,"i":%d,"l":[]}`, `{"i":%d,"_ab_cdc_deleted_at":"2024-02-29T12:00:00Z"}`, `{"s":"twice","i":1,"i":%d}`,
	}[r.IntN(8)]
	data = fmt.Sprintf(data, r.IntN(50))
	if r.IntN(brokenIn) == 0 {
		data = []string{`{"i":1,}`, `{"s":"` + "\t" + `"}`, `[1]`, `{"i":null}`, `{"l":[1,2`, `null`}[r.IntN(6)]
	}
	name, namespace := string("stu"[r.IntN(3)]), ""
	if r.IntN(3) > 0 {
		name = "s" // and so the streams do not come by turns only
	}
	if name == "s" && r.IntN(2) == 0 {
		namespace = `,"namespace":"n"`
	}
	head := `{"type":"RECORD","record":{`
	switch r.IntN(30) {
	case 0:
		return head + `"data":` + data + `,"stream":"` + name + `"` + namespace + `}}`
	case 1:
		return head + `"stream":"` + name + `","data":` + data + namespace + `}}`
	case 2:
		return head + `"stream":"` + name + `"` + namespace + `,"data":` + data + `,"stream":"u","namespace":null}}`
	case 3:
		return head + `"stream":"t","data":{"i":7}},"record":{"stream":"` + name + `"` + namespace + `,"data":` + data + `}}`
	case 4:
		return head + `"stream":"` + name + `"` + namespace + `,"data":` + data + `,"meta":{"changes":[{"field":"s","change":"NULLED","reason":"r"}]}}}`
	case 5:
		return head + `"stream":"` + name + `"` + namespace + `,"data":` + data + `,"data":{"i":3}}}`
	case 6:
		if r.IntN(brokenIn) == 0 {
			return head + `"stream":"unknown","data":{}}}`
		}
	}
	return head + `"stream":"` + name + `"` + namespace + `,"emitted_at":1700000000000,"data":` + data + `}}`
}

// A run of lines gives what its lines give one by one, whatever streams they are of: the
// same rows in the same order, up to the first line that is refused, for the same reason.
func TestARunOfLinesIsTheSumOfItsLines(t *testing.T) {
	layouts := layoutsOfRuns(t)
	for seed := range uint64(testsize.Of(60, 1000)) {
		r := rand.New(rand.NewPCG(seed, 1))
		brokenIn := cmp.Or(int(seed%3)*100, 1e9)
		together, route := batchesOf(layouts)
		alone, routeAlone := batchesOf(layouts)
		var whole, single Decoder
		number := int64(1)
		for run := range uint64(3) {
			var lines []string
			for range r.IntN(30) {
				lines = append(lines, randomLine(r, brokenIn))
			}
			first := number
			var want error
			for i, line := range lines {
				before := len(alone["/t"].order)
				if want = single.Decode([]byte(line+"\n"), number, run, routeAlone); want != nil {
					break
				}
				number++
				for j := range alone["/t"].order[before:] { // the line's number in a run of its own is 0
					alone["/t"].order[before+j] |= uint64(i)
				}
			}
			text := []byte(strings.Join(lines, "\n") + "\n")
			if len(lines) == 0 {
				text = nil
			}
			got := whole.Decode(text, first, run, route)
			if diff := gocmp.Diff(fmt.Sprint(want), fmt.Sprint(got)); diff != "" {
				t.Fatalf("seed %d: %s\n%s", seed, diff, text)
			}
			if want != nil {
				break
			}
		}
		for name, b := range alone {
			if diff := gocmp.Diff(rowsOf(t, b), rowsOf(t, together[name])); diff != "" {
				t.Fatalf("seed %d, stream %s: %s", seed, name, diff)
			}
			if got := together[name].Order(); !slices.Equal(got, b.Order()) {
				t.Fatalf("seed %d, stream %s: the order is %v, want %v", seed, name, got, b.Order())
			}
			one, all := lossesOf(b), lossesOf(together[name])
			if diff := gocmp.Diff([]map[string]int64{one.Nulled, one.Adjusted}, []map[string]int64{all.Nulled, all.Adjusted}); diff != "" {
				t.Fatalf("seed %d, stream %s: %s", seed, name, diff)
			}
			changes := func(b *Batch) string { return b.Record().Column(len(b.data.fields) + metaColumn).String() }
			if diff := gocmp.Diff(changes(b), changes(together[name])); diff != "" {
				t.Fatalf("seed %d, stream %s: %s", seed, name, diff)
			}
		}
	}
}

func TestDecodingStreamsByTurnsAllocatesNothing(t *testing.T) {
	batches, _ := batchesOf(layoutsOfRuns(t))
	var lines strings.Builder
	for i := range 1000 {
		fmt.Fprintf(&lines, `{"type":"RECORD","record":{"stream":"%c","emitted_at":1700000000000,"data":{"i":%d,"s":"x"}}}`+"\n", "stu"[i%3], i)
	}
	text := []byte(lines.String())
	route := func(_, name []byte) (*Batch, error) {
		switch name[0] {
		case 's':
			return batches["/s"], nil
		case 't':
			return batches["/t"], nil
		}
		return batches["/u"], nil
	}
	var d Decoder
	allocs := testing.AllocsPerRun(20, func() {
		if err := d.Decode(text, 1, 0, route); err != nil {
			t.Fatal(err)
		}
		for _, b := range batches {
			b.Reset()
		}
	})
	if allocs > 0 {
		t.Errorf("%v allocations", allocs)
	}
}
