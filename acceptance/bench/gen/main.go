// Command gen writes deterministic Airbyte-protocol message streams for
// throughput measurements. It is self-contained and allocation-light (it
// emits at several hundred MB/s, so it can also feed a pipe directly).
//
//	gen -kind sleep -n 1000000 > sleep.jsonl      WHOOP-like sleep records, nested, about 1 KB
//	gen -kind wide  -n 1000000 > wide.jsonl       20 flat columns, about 0.5 KB
//	gen -kind text  -n 100000  > text.jsonl       5 columns, a few long strings, about 6 KB
//	gen -kind sleep -schema                       JSON schema of the stream (Airbyte style)
//	gen -kind sleep -catalog                      configured catalog for the stream
//
// -state K    after every K records a STATE message of each stream that had some, and at the end those and the COMPLETE statuses (default 10000; 0: none of them)
// -dup P      percent of records that repeat an earlier primary key (an update of that row), default 0
// -start N    first record number (lets two files be disjoint or overlap for upsert tests)
// -step N     how far apart the record numbers are (default 1)
// -seed S     changes every value
// -streams N  spread over that many streams, whose records come by turns (default 1)
// -turn K     records of a stream until it is the next one's turn (default 1)
// -dirty P    percent of records that carry awkward but legal JSON: unicode escapes, big integers,
//
//	numbers written as strings, missing and extra keys (default 0)
//
// The same flags always give the same bytes.
package main

import (
	"bufio"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"time"
)

// splitmix64: tiny, good enough, and stable across Go versions.
type rng struct{ s uint64 }

func (r *rng) next() uint64 {
	r.s += 0x9e3779b97f4a7c15
	z := r.s
	z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9
	z = (z ^ (z >> 27)) * 0x94d049bb133111eb
	return z ^ (z >> 31)
}
func (r *rng) n(n int) int          { return int((r.next() >> 33) % uint64(n)) }
func (r *rng) between(a, b int) int { return a + r.n(b-a+1) }
func (r *rng) unit() float64        { return float64(r.next()>>11) / (1 << 53) }

// record i has its own generator, so a repeated key repeats its identity columns.
func newRng(seed, i uint64) rng { r := rng{seed ^ (i * 0xd1342543de82ef95)}; r.next(); return r }

const hexd = "0123456789abcdef"

func uuid(b []byte, r *rng) []byte {
	h, l := r.next(), r.next()
	h = h&^0xf000 | 0x4000
	l = l&^(3<<62) | 2<<62
	for i := 0; i < 16; i++ {
		if i == 8 || i == 12 {
			b = append(b, '-')
		}
		b = append(b, hexd[h>>(60-4*i)&15])
	}
	for i := 0; i < 16; i++ {
		if i == 0 || i == 4 {
			b = append(b, '-')
		}
		b = append(b, hexd[l>>(60-4*i)&15])
	}
	return b
}

func two(b []byte, v int) []byte { return append(b, byte('0'+v/10), byte('0'+v%10)) }

func ts(b []byte, ms int64) []byte {
	t := time.UnixMilli(ms).UTC()
	y, mo, d := t.Date()
	b = strconv.AppendInt(b, int64(y), 10)
	b = two(append(b, '-'), int(mo))
	b = two(append(b, '-'), d)
	b = two(append(b, 'T'), t.Hour())
	b = two(append(b, ':'), t.Minute())
	b = two(append(b, ':'), t.Second())
	f := int(ms % 1000)
	b = append(b, '.', byte('0'+f/100))
	b = two(b, f%100)
	return append(b, 'Z')
}

func num(b []byte, f float64, prec int) []byte { return strconv.AppendFloat(b, f, 'f', prec, 64) }
func in(b []byte, k string, v int) []byte      { return strconv.AppendInt(append(b, k...), int64(v), 10) }

var (
	tz         = []string{"+00:00", "-05:00", "-08:00", "+01:00", "+02:00", "+05:30", "+09:00", "+10:00"}
	scoreState = []string{"SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "SCORED", "PENDING_SCORE", "UNSCORABLE"}
)

const base = int64(1_640_995_200_000) // 2022-01-01T00:00:00Z

func sleep(b []byte, id uint64, seed uint64, version int, dirty bool) []byte {
	r := newRng(seed, id)
	user := 10_000 + r.n(5_000)
	start := base + int64(r.n(94_608_000))*1000 + int64(r.n(1000))
	dur := r.between(4*3600_000, 10*3600_000)
	b = append(b, `{"id":"`...)
	b = uuid(b, &r)
	if dirty {
		// 2^53+1 and up: a decoder going through float64 changes it
		b = in(b, `","cycle_id":`, 9007199254740993+int(id%1000)*2)
	} else {
		b = in(b, `","cycle_id":`, 93_845_000+int(id))
	}
	b = in(b, `,"v1_id":`, 10_235+int(id))
	b = in(b, `,"user_id":`, user)
	b = append(b, `,"created_at":"`...)
	b = ts(b, start+int64(dur)+int64(r.n(600_000)))
	b = append(b, `","updated_at":"`...)
	b = ts(b, start+int64(dur)+int64(r.n(36_000_000))+int64(version)*86_400_000)
	b = append(b, `","start":"`...)
	b = ts(b, start)
	b = append(b, `","end":"`...)
	b = ts(b, start+int64(dur))
	b = append(b, `","timezone_offset":"`...)
	b = append(b, tz[user%len(tz)]...)
	if r.n(8) == 0 {
		b = append(b, `","nap":true`...)
	} else {
		b = append(b, `","nap":false`...)
	}
	st := scoreState[r.n(len(scoreState))]
	b = append(b, `,"score_state":"`...)
	b = append(b, st...)
	if dirty {
		b = append(b, `","note":"caf\u00e9 \ud83d\ude34 \"quoted\"\n","score":`...)
	} else {
		b = append(b, `","score":`...)
	}
	if st != "SCORED" {
		return append(b, `null}`...)
	}
	awake := dur * r.between(2, 12) / 100
	light := dur * r.between(35, 55) / 100
	sws := dur * r.between(10, 25) / 100
	rem := dur - awake - light - sws
	b = in(b, `{"stage_summary":{"total_in_bed_time_milli":`, dur)
	b = in(b, `,"total_awake_time_milli":`, awake)
	b = in(b, `,"total_no_data_time_milli":`, r.n(2)*r.n(60_000))
	b = in(b, `,"total_light_sleep_time_milli":`, light)
	b = in(b, `,"total_slow_wave_sleep_time_milli":`, sws)
	b = in(b, `,"total_rem_sleep_time_milli":`, rem)
	b = in(b, `,"sleep_cycle_count":`, r.between(2, 7))
	b = in(b, `,"disturbance_count":`, r.between(0, 20))
	b = in(b, `},"sleep_needed":{"baseline_milli":`, r.between(26_000_000, 30_000_000))
	b = in(b, `,"need_from_sleep_debt_milli":`, r.n(4_000_000))
	b = in(b, `,"need_from_recent_strain_milli":`, r.n(900_000))
	b = in(b, `,"need_from_recent_nap_milli":`, -r.n(2)*r.n(3_000_000))
	b = num(append(b, `},"respiratory_rate":`...), 12+r.unit()*7, 6)
	b = in(b, `,"sleep_performance_percentage":`, r.between(30, 100))
	b = in(b, `,"sleep_consistency_percentage":`, r.between(20, 100))
	b = num(append(b, `,"sleep_efficiency_percentage":`...), 70+r.unit()*30, 5)
	return append(b, `}}`...)
}

var (
	country = []string{"DE", "US", "FR", "GB", "PL", "NL", "BR", "IN", "JP", "CA"}
	status  = []string{"created", "paid", "shipped", "delivered", "returned", "cancelled"}
	words   = []string{"alpha", "bravo", "charlie", "delta", "echo", "foxtrot", "golf", "hotel", "india", "juliett", "kilo", "lima", "mike", "november", "oscar", "papa", "quebec", "romeo", "sierra", "tango", "uniform", "victor", "whiskey", "xray", "yankee", "zulu", "grün", "naïve", "日本", "tab\\tnew\\nline", "say \\\"hi\\\""}
)

func sentence(b []byte, r *rng, bytes int) []byte {
	n := len(b)
	for len(b)-n < bytes {
		b = append(append(b, words[r.n(len(words))]...), ' ')
	}
	return b
}

func wide(b []byte, id, seed uint64, version int, dirty bool) []byte {
	r := newRng(seed, id)
	b = in(b, `{"order_id":`, 1_000_000_000+int(id))
	b = in(b, `,"customer_id":`, r.n(2_000_000))
	b = in(b, `,"store_id":`, r.n(500))
	b = in(b, `,"quantity":`, r.between(1, 40))
	b = in(b, `,"line_count":`, r.between(1, 9))
	if dirty {
		b = append(b, `,"balance_micros":"-9223372036854775808"`...)
	} else {
		b = in(b, `,"balance_micros":`, int(r.next()>>20)-1<<43)
	}
	b = num(append(b, `,"unit_price":`...), r.unit()*900, 2)
	b = num(append(b, `,"discount":`...), r.unit()*0.4, 4)
	b = num(append(b, `,"weight_kg":`...), r.unit()*25, 3)
	b = num(append(b, `,"lat":`...), r.unit()*180-90, 6)
	b = num(append(b, `,"lon":`...), r.unit()*360-180, 6)
	b = append(append(b, `,"country":"`...), country[r.n(len(country))]...)
	b = append(append(b, `","status":"`...), status[(r.n(len(status))+version)%len(status)]...)
	b = in(b, `","sku":"SKU-`, 100_000+r.n(80_000))
	b = in(b, `","email":"user`, r.n(2_000_000))
	b = append(b, `@example.org","note":"`...)
	b = sentence(b, &r, r.n(50))
	t := base + int64(id)*137 + int64(r.n(100_000))
	b = ts(append(b, `","created_at":"`...), t)
	b = ts(append(b, `","updated_at":"`...), t+int64(r.n(86_400_000))+int64(version)*86_400_000)
	d := time.UnixMilli(t + 3*86_400_000).UTC()
	b = in(b, `","ship_date":"`, d.Year())
	b = two(append(b, '-'), int(d.Month()))
	b = two(append(b, '-'), d.Day())
	if r.n(20) == 0 {
		return append(b, `","is_gift":null}`...)
	}
	return append(strconv.AppendBool(append(b, `","is_gift":`...), r.n(10) == 0), '}')
}

func text(b []byte, id, seed uint64, version int, dirty bool) []byte {
	r := newRng(seed, id)
	b = in(b, `{"id":`, int(id))
	b = ts(append(b, `,"published_at":"`...), base+int64(id)*1371)
	b = append(b, `","title":"`...)
	b = sentence(b, &r, r.between(20, 90))
	b = append(b, `","body":"`...)
	b = sentence(b, &r, r.between(1500, 7500))
	b = append(b, `","html":"`...)
	b = append(b, `<p class=\"lead\">`...)
	b = sentence(b, &r, r.between(200, 1500))
	return append(b, `<\/p>"}`...)
}

type stream struct {
	name, pk, cursor, schema string
	f                        func([]byte, uint64, uint64, int, bool) []byte
}

// nth is the name of the stream's i-th copy.
func (s stream) nth(i int) string {
	if i == 0 {
		return s.name
	}
	return s.name + "_" + strconv.Itoa(i)
}

const (
	tsT            = `{"type":["null","string"],"format":"date-time","airbyte_type":"timestamp_with_timezone"}`
	sT, iT, nT, bT = `{"type":["null","string"]}`, `{"type":["null","integer"]}`, `{"type":["null","number"]}`, `{"type":["null","boolean"]}`
)

func props(kv ...string) string {
	s := `{"type":["null","object"],"additionalProperties":true,"properties":{`
	for i := 0; i < len(kv); i += 2 {
		if i > 0 {
			s += ","
		}
		s += strconv.Quote(kv[i]) + ":" + kv[i+1]
	}
	return s + "}}"
}

var streams = map[string]stream{
	"sleep": {"sleep", "id", "updated_at", props("id", sT, "cycle_id", iT, "v1_id", iT, "user_id", iT,
		"created_at", tsT, "updated_at", tsT, "start", tsT, "end", tsT, "timezone_offset", sT, "nap", bT, "score_state", sT,
		"score", props("stage_summary", props("total_in_bed_time_milli", iT, "total_awake_time_milli", iT,
			"total_no_data_time_milli", iT, "total_light_sleep_time_milli", iT, "total_slow_wave_sleep_time_milli", iT,
			"total_rem_sleep_time_milli", iT, "sleep_cycle_count", iT, "disturbance_count", iT),
			"sleep_needed", props("baseline_milli", iT, "need_from_sleep_debt_milli", iT,
				"need_from_recent_strain_milli", iT, "need_from_recent_nap_milli", iT),
			"respiratory_rate", nT, "sleep_performance_percentage", nT, "sleep_consistency_percentage", nT,
			"sleep_efficiency_percentage", nT)), sleep},
	"wide": {"orders", "order_id", "updated_at", props("order_id", iT, "customer_id", iT, "store_id", iT, "quantity", iT,
		"line_count", iT, "balance_micros", iT, "unit_price", nT, "discount", nT, "weight_kg", nT, "lat", nT, "lon", nT,
		"country", sT, "status", sT, "sku", sT, "email", sT, "note", sT, "created_at", tsT, "updated_at", tsT,
		"ship_date", `{"type":["null","string"],"format":"date"}`, "is_gift", bT), wide},
	"text": {"articles", "id", "published_at", props("id", iT, "published_at", tsT, "title", sT, "body", sT, "html", sT), text},
}

// complete writes that each stream is complete.
func (s stream) complete(w io.Writer, count int) error {
	for i := range count {
		_, err := fmt.Fprintf(w, `{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1732000000000,"stream_status":{"stream_descriptor":{"name":%q},"status":"COMPLETE"}}}`+"\n", s.nth(i))
		if err != nil {
			return err
		}
	}
	return nil
}

// states appends a STATE message of each stream that had records since its last one, and
// forgets their number.
func (s stream) states(b []byte, since []int, done int) []byte {
	for i, count := range since {
		if count == 0 {
			continue
		}
		since[i] = 0
		b = append(b, `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"`...)
		b = append(b, s.nth(i)...)
		b = in(b, `"},"stream_state":{"cursor":`, done)
		b = in(b, `}},"sourceStats":{"recordCount":`, count)
		b = append(b, "}}}\n"...)
	}
	return b
}

func main() {
	kind := flag.String("kind", "sleep", "sleep, wide or text")
	n := flag.Int("n", 1000, "records")
	start := flag.Uint64("start", 0, "first record number")
	step := flag.Uint64("step", 1, "how far apart the record numbers are")
	seed := flag.Uint64("seed", 42, "seed")
	state := flag.Int("state", 10_000, "records between STATE messages; 0: none")
	dup := flag.Int("dup", 0, "percent of records repeating an earlier key")
	dirtyP := flag.Int("dirty", 0, "percent of records with awkward but legal JSON")
	streamCount := flag.Int("streams", 1, "streams, whose records come by turns")
	turn := flag.Int("turn", 1, "records of a stream until it is the next one's turn")
	schema := flag.Bool("schema", false, "print the stream's JSON schema and exit")
	catalog := flag.Bool("catalog", false, "print a configured catalog and exit")
	mode := flag.String("mode", "append_dedup", "destination_sync_mode in -catalog: append, append_dedup, overwrite")
	flag.Parse()
	s, ok := streams[*kind]
	if !ok {
		fmt.Fprintln(os.Stderr, "gen: unknown -kind", *kind)
		os.Exit(2)
	}
	if *schema {
		fmt.Println(s.schema)
		return
	}
	if *catalog {
		for i := range *streamCount {
			fmt.Printf(`%s{"stream":{"name":%q,"json_schema":%s,"supported_sync_modes":["full_refresh","incremental"]},"sync_mode":"incremental","cursor_field":[%q],"destination_sync_mode":%q,"primary_key":[[%q]],"generation_id":1,"minimum_generation_id":0,"sync_id":1}`,
				[]string{`{"streams":[`, ","}[min(i, 1)], s.nth(i), s.schema, s.cursor, *mode, s.pk)
		}
		fmt.Println("]}")
		return
	}
	w := bufio.NewWriterSize(os.Stdout, 1<<20)
	fail := func(err error) {
		if err != nil {
			fmt.Fprintln(os.Stderr, "gen:", err)
			os.Exit(1)
		}
	}
	heads := make([][]byte, *streamCount)
	for i := range heads {
		heads[i] = []byte(`{"type":"RECORD","record":{"stream":"` + s.nth(i) + `","namespace":null,"emitted_at":`)
	}
	var b []byte
	pick := newRng(*seed, 1<<62)
	since := make([]int, len(heads)) // records of each stream since its last state
	stateMsg := func(done int) {
		b = s.states(b[:0], since, done)
		_, err := w.Write(b)
		fail(err)
	}
	for i := 0; i < *n; i++ {
		id, ver := *start+uint64(i)**step, 0
		if *dup > 0 && i > 0 && pick.n(100) < *dup {
			id, ver = *start+uint64(pick.n(i))**step, 1+pick.n(5)
		}
		stream := i / *turn % len(heads)
		since[stream]++
		b = append(b[:0], heads[stream]...)
		b = strconv.AppendInt(b, 1_732_000_000_000+int64(i/7), 10)
		b = append(b, `,"data":`...)
		b = s.f(b, id, *seed, ver, *dirtyP > 0 && pick.n(100) < *dirtyP)
		b = append(b, "}}\n"...)
		_, err := w.Write(b)
		fail(err)
		if *state > 0 && (i+1)%*state == 0 {
			stateMsg(i + 1)
		}
	}
	if *state > 0 {
		if *n%*state != 0 {
			stateMsg(*n)
		}
		fail(s.complete(w, *streamCount))
	}
	fail(w.Flush())
}
