package columnar

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A workload is a stream whose records the benchmarks decode.
type workload struct {
	name, schema string
	record       func(r *rand.Rand, id int) string
}

// object writes a schema: names with the first letter of their type before
// them, as in "i:cycle_id"; a name before a bracket is an object.
func objectSchema(members string) string {
	types := map[string]string{
		"i": `{"type":["null","integer"]}`, "n": `{"type":["null","number"]}`, "s": `{"type":["null","string"]}`,
		"b": `{"type":["null","boolean"]}`, "d": `{"type":["null","string"],"format":"date"}`,
		"t": `{"type":["null","string"],"format":"date-time","airbyte_type":"timestamp_with_timezone"}`,
	}
	var out strings.Builder
	out.WriteString(`{"type":["null","object"],"properties":{`)
	for word := range strings.FieldsSeq(members) {
		switch {
		case word == "}":
			out.WriteString(`}},`)
		case strings.HasSuffix(word, "{"):
			fmt.Fprintf(&out, `%q:{"type":["null","object"],"properties":{`, strings.TrimSuffix(word, "{"))
		default:
			fmt.Fprintf(&out, `%q:%s,`, word[2:], types[word[:1]])
		}
	}
	return strings.ReplaceAll(out.String()+"}}", ",}", "}")
}

func uuidText(r *rand.Rand) string {
	return fmt.Sprintf("%08x-%04x-4%03x-a%03x-%012x", r.Uint32(), r.Uint32N(1<<16), r.Uint32N(1<<12), r.Uint32N(1<<12), r.Uint64N(1<<48))
}

func instantText(r *rand.Rand) string {
	return time.UnixMilli(1_640_995_200_000 + r.Int64N(94_608_000_000)).UTC().Format("2006-01-02T15:04:05.000Z")
}

func proseText(r *rand.Rand, size int) string {
	words := strings.Fields(`alpha bravo charlie delta echo foxtrot golf hotel india juliett kilo lima mike november oscar papa
		quebec romeo sierra tango uniform victor whiskey xray yankee zulu grün naïve 日本 tab\tnew\nline say\"hi\"`)
	var out strings.Builder
	for out.Len() < size {
		out.WriteString(words[r.IntN(len(words))] + " ")
	}
	return out.String()
}

var workloads = []workload{
	{
		"sleep", objectSchema(`s:id i:cycle_id i:v1_id i:user_id t:created_at t:updated_at t:start t:end s:timezone_offset b:nap s:score_state
		score{ stage_summary{ i:total_in_bed_time_milli i:total_awake_time_milli i:total_no_data_time_milli i:total_light_sleep_time_milli
			i:total_slow_wave_sleep_time_milli i:total_rem_sleep_time_milli i:sleep_cycle_count i:disturbance_count }
		sleep_needed{ i:baseline_milli i:need_from_sleep_debt_milli i:need_from_recent_strain_milli i:need_from_recent_nap_milli }
		n:respiratory_rate n:sleep_performance_percentage n:sleep_consistency_percentage n:sleep_efficiency_percentage }`),
		func(r *rand.Rand, id int) string {
			head := fmt.Sprintf(`{"id":"%s","cycle_id":%d,"v1_id":%d,"user_id":%d,"created_at":"%s","updated_at":"%s","start":"%s","end":"%s",`+
				`"timezone_offset":"-05:00","nap":%t,"score_state":`, uuidText(r), 93_845_000+id, 10_235+id, 10_000+r.IntN(5000),
				instantText(r), instantText(r), instantText(r), instantText(r), r.IntN(8) == 0)
			if r.IntN(10) == 0 {
				return head + `"PENDING_SCORE","score":null}`
			}
			return head + fmt.Sprintf(`"SCORED","score":{"stage_summary":{"total_in_bed_time_milli":%d,"total_awake_time_milli":%d,`+
				`"total_no_data_time_milli":0,"total_light_sleep_time_milli":%d,"total_slow_wave_sleep_time_milli":%d,"total_rem_sleep_time_milli":%d,`+
				`"sleep_cycle_count":%d,"disturbance_count":%d},"sleep_needed":{"baseline_milli":%d,"need_from_sleep_debt_milli":%d,`+
				`"need_from_recent_strain_milli":%d,"need_from_recent_nap_milli":-%d},"respiratory_rate":%.6f,"sleep_performance_percentage":%d,`+
				`"sleep_consistency_percentage":%d,"sleep_efficiency_percentage":%.5f}}`, r.IntN(40_000_000), r.IntN(4_000_000), r.IntN(20_000_000),
				r.IntN(10_000_000), r.IntN(10_000_000), r.IntN(7), r.IntN(20), r.IntN(30_000_000), r.IntN(4_000_000), r.IntN(900_000), r.IntN(3_000_000),
				12+r.Float64()*7, r.IntN(100), r.IntN(100), 70+r.Float64()*30)
		},
	},
	{
		"wide", objectSchema(`i:order_id i:customer_id i:store_id i:quantity i:line_count i:balance_micros n:unit_price n:discount n:weight_kg n:lat n:lon
		s:country s:status s:sku s:email s:note t:created_at t:updated_at d:ship_date b:is_gift`),
		func(r *rand.Rand, id int) string {
			return fmt.Sprintf(`{"order_id":%d,"customer_id":%d,"store_id":%d,"quantity":%d,"line_count":%d,"balance_micros":%d,`+
				`"unit_price":%.2f,"discount":%.4f,"weight_kg":%.3f,"lat":%.6f,"lon":%.6f,"country":"DE","status":"shipped","sku":"SKU-%d",`+
				`"email":"user%d@example.org","note":"%s","created_at":"%s","updated_at":"%s","ship_date":"%s","is_gift":%t}`,
				1_000_000_000+id, r.IntN(2_000_000), r.IntN(500), r.IntN(40), r.IntN(9), r.Int64N(1<<44)-1<<43, r.Float64()*900, r.Float64()*0.4,
				r.Float64()*25, r.Float64()*180-90, r.Float64()*360-180, 100_000+r.IntN(80_000), r.IntN(2_000_000), proseText(r, r.IntN(50)),
				instantText(r), instantText(r), instantText(r)[:10], r.IntN(10) == 0)
		},
	},
	{
		"text", objectSchema(`i:id t:published_at s:title s:body s:html`),
		func(r *rand.Rand, id int) string {
			return fmt.Sprintf(`{"id":%d,"published_at":"%s","title":"%s","body":"%s","html":"<p class=\"lead\">%s<\/p>"}`,
				id, instantText(r), proseText(r, 20+r.IntN(70)), proseText(r, 1500+r.IntN(6000)), proseText(r, 200+r.IntN(1300)))
		},
	},
}

// lines writes about size bytes of RECORD lines.
func (w workload) lines(size int) []byte {
	r := rand.New(rand.NewPCG(42, 42))
	var out bytes.Buffer
	for id := 0; out.Len() < size; id++ {
		fmt.Fprintf(&out, `{"type":"RECORD","record":{"stream":%q,"namespace":null,"emitted_at":%d,"data":%s}}`+"\n",
			w.name, 1_732_000_000_000+id/7, w.record(r, id))
	}
	return out.Bytes()
}

func (w workload) batch(tb testing.TB) *Batch {
	plan, err := NewPlan(protocol.ConfiguredStream{
		Stream: protocol.Stream{Name: w.name, JSONSchema: json.RawMessage(w.schema)}, DestinationSyncMode: protocol.Append,
	}, Options{})
	if err != nil {
		tb.Fatal(err)
	}
	layout, err := plan.Bind(plan.Schema, ownIDs(plan))
	if err != nil {
		tb.Fatal(err)
	}
	one := int64(1)
	return NewBatch(layout, RowMeta{SyncID: &one, GenerationID: &one})
}

func BenchmarkDecode(b *testing.B) {
	for _, w := range workloads {
		lines := w.lines(1 << 20)
		rows := bytes.Count(lines, []byte("\n"))
		b.Run(w.name, func(b *testing.B) {
			batch := w.batch(b)
			route := func(_, _ []byte) (*Batch, error) { return batch, nil }
			var d Decoder
			b.SetBytes(int64(len(lines)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(lines, 1, 0, route); err != nil {
					b.Fatal(err)
				}
				if batch.Bytes() > 16<<20 {
					batch.Reset()
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
		})
	}
}

// BenchmarkDecodeByTurns has a record of each stream in turn.
func BenchmarkDecodeByTurns(b *testing.B) {
	w := workloads[0]
	for _, streams := range []int{1, 10, 100} {
		b.Run(strconv.Itoa(streams), func(b *testing.B) {
			all := map[string]*Batch{}
			var names []string
			for i := range streams {
				names = append(names, fmt.Sprintf("%s%d", w.name, i))
				all[names[i]] = w.batch(b)
			}
			var text []byte
			rows := 0
			for line := range bytes.Lines(w.lines(1 << 20)) {
				text = append(text, bytes.Replace(line, []byte(w.name), []byte(names[rows%streams]), 1)...)
				rows++
			}
			route := func(_, name []byte) (*Batch, error) { return all[string(name)], nil }
			var d Decoder
			b.SetBytes(int64(len(text)))
			b.ReportAllocs()
			for b.Loop() {
				if err := d.Decode(text, 1, 0, route); err != nil {
					b.Fatal(err)
				}
				for _, batch := range all {
					if batch.Bytes() > 16<<20/streams {
						batch.Reset()
					}
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*rows), "ns/row")
		})
	}
}

func BenchmarkRecord(b *testing.B) {
	for _, w := range workloads[:2] {
		b.Run(w.name, func(b *testing.B) {
			batch := w.batch(b)
			var d Decoder
			if err := d.Decode(w.lines(16<<20), 1, 0, func(_, _ []byte) (*Batch, error) { return batch, nil }); err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				batch.rawIDs.clear()
				batch.Record().Release()
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N*batch.Rows()), "ns/row")
		})
	}
}
