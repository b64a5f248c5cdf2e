package columnar

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func newTestBatch(t testing.TB, s protocol.ConfiguredStream, o Options) *Batch {
	t.Helper()
	plan, err := NewPlan(s, o)
	if err != nil {
		t.Fatal(err)
	}
	layout, err := plan.Bind(plan.Schema, ownIDs(plan))
	if err != nil {
		t.Fatal(err)
	}
	return NewBatch(layout, RowMeta{})
}

func stream(schema string) protocol.ConfiguredStream {
	return protocol.ConfiguredStream{
		Stream:              protocol.Stream{Name: "s", JSONSchema: []byte(schema)},
		DestinationSyncMode: protocol.Append,
	}
}

func properties(members string) string { return `{"type":"object","properties":{` + members + `}}` }

func to(b *Batch) func(namespace, name []byte) (*Batch, error) {
	return func(_, _ []byte) (*Batch, error) { return b, nil }
}

// recordLine is a RECORD as SDKs write it.
func recordLine(data string) string {
	return `{"type":"RECORD","record":{"stream":"s","emitted_at":1700000000000,"data":` + data + "}}\n"
}

// rowsOf shows the rows as JSON, without the columns of Airbyte.
func rowsOf(t testing.TB, b *Batch) []string {
	t.Helper()
	rec := validRecord(t, b)
	var rows []string
	for i := range int(rec.NumRows()) {
		var row []string
		for j := range int(rec.NumCols()) - airbyteColumns {
			row = append(row, fmt.Sprintf("%s=%s", rec.ColumnName(j), rec.Column(j).ValueStr(i)))
		}
		rows = append(rows, strings.Join(row, " "))
	}
	return rows
}

// validRecord checks what Arrow demands of a record.
func validRecord(t testing.TB, b *Batch) arrow.RecordBatch {
	t.Helper()
	rec := b.Record()
	for i, c := range rec.Columns() {
		if err := array.ValidateFull(c); err != nil {
			t.Fatalf("column %s: %v", rec.ColumnName(i), err)
		}
		if c.NullN() > 0 && !rec.Schema().Field(i).Nullable {
			t.Fatalf("column %s is required and has nulls", rec.ColumnName(i))
		}
	}
	return rec
}

// changesOf shows the changes of a row as field:reason.
func changesOf(t testing.TB, b *Batch, row int) string {
	t.Helper()
	rec := b.Record()
	list := rec.Column(int(rec.NumCols()) - airbyteColumns + metaColumn).(*array.Struct).Field(1).(*array.List)
	start, end := list.ValueOffsets(row)
	entry := list.ListValues().(*array.Struct)
	var all []string
	for i := start; i < end; i++ {
		var texts []string
		for f := range 3 {
			texts = append(texts, entry.Field(f).ValueStr(int(i)))
		}
		all = append(all, strings.Join(texts, ":"))
	}
	return strings.Join(all, " ")
}

func TestChangesNameTheirFieldAndFollowTheSources(t *testing.T) {
	schema := properties(`"Foo.Bar":` + integerType + `,"o":{"type":"object","properties":{"N":` + integerType + `}},"l":{"type":"array","items":` + objectType + `}`)
	b := newTestBatch(t, stream(schema), Options{})
	line := func(data, meta string) string {
		return `{"type":"RECORD","record":{"stream":"s","emitted_at":1700000000000,"data":` + data + `,"meta":` + meta + "}}\n"
	}
	const source = `{"changes":[{"field":"f","change":"TRUNCATED","reason":"SOURCE_FIELD_SIZE_LIMITATION","x":1}]}`
	lines := line(`{}`, `{}`) + line(`{}`, source) +
		line(`{"Foo.Bar":"x","o":{"N":1e40},"l":[{"a":"x"},{"a":1},{"a":"y"}]}`, source) +
		line(`{"Foo.Bar":"x"}`, `{"changes":null}`) +
		`{"type":"RECORD","record":{"meta":` + source + `,"data":{"Foo.Bar":"x"},"emitted_at":1,"stream":"s"}}` + "\n" +
		line(`{"Foo.Bar":"x","o":{"N":1e40},"Foo.Bar":1,"o":{"N":2}}`, `null`) +
		line(`{"l":[{"a":1},{"a":"y","a":2}]}`, `null`) +
		line(`{"l":[{"a":"x"},{"a":"y","a":2}]}`, `null`)
	var d Decoder
	if err := d.Decode([]byte(lines), 1, 0, to(b)); err != nil {
		t.Fatal(err)
	}
	validRecord(t, b)
	var got []string
	for row := range b.Rows() {
		got = append(got, changesOf(t, b, row))
	}
	const f, w, l = "f:TRUNCATED:SOURCE_FIELD_SIZE_LIMITATION", ":NULLED:DESTINATION_SERIALIZATION_ERROR", ":NULLED:DESTINATION_FIELD_SIZE_LIMITATION"
	want := []string{"", f, f + " Foo.Bar" + w + " o.N" + l + " l.a" + w, "Foo.Bar" + w, f + " Foo.Bar" + w, "", "", "l.a" + w}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTheLastOfEqualNamesCounts(t *testing.T) {
	schema := properties(`"i":` + integerType + `,"b":` + booleanType + `,"s":` + stringType + `,"d":` + dateType +
		`,"o":{"type":"object","properties":{"x":` + integerType + `,"y":` + listType + `}},"l":{"type":"array","items":` + objectType + `}`)
	lines := recordLine(`{"i":1,"b":true,"s":"a","d":"2024-01-01","o":{"x":1,"y":[1]},"l":[{"a":1},{"a":2}]}`) +
		recordLine(`{"i":1,"i":2,"b":true,"b":false,"s":"long","s":"s","d":"2024-01-01","d":"2024-01-02","o":{"x":1,"y":[1,2]},"o":{"y":[3]},"l":[{"a":1},{"a":2}],"l":[{"a":3}]}`) +
		recordLine(`{"i":1,"i":null,"b":true,"b":null,"s":"long","s":null,"d":"2024-01-01","d":null,"o":{"x":1,"y":[1,2]},"o":null,"l":[{"a":1},{"a":2}],"l":null}`) +
		recordLine(`{"i":null,"i":2,"b":null,"b":true,"s":null,"s":"s","d":null,"d":"2024-01-02","o":null,"o":{"x":7,"x":8},"l":null,"l":[{"a":3,"a":4}]}`) +
		recordLine(`{"i":"x","i":2,"o":{"x":"x"},"o":7,"o":{"x":1,"y":[1],"y":[2,2]}}`)
	b := newTestBatch(t, stream(schema), Options{})
	var d Decoder
	if err := d.Decode([]byte(lines), 1, 0, to(b)); err != nil {
		t.Fatal(err)
	}
	want := []string{
		`i=1 b=true s=a d=2024-01-01 o={"x":1,"y":[1]} l=[{"a":1},{"a":2}]`,
		`i=2 b=false s=s d=2024-01-02 o={"x":null,"y":[3]} l=[{"a":3}]`,
		`i=(null) b=(null) s=(null) d=(null) o=(null) l=(null)`,
		`i=2 b=true s=s d=2024-01-02 o={"x":8,"y":null} l=[{"a":4}]`,
		`i=2 b=(null) s=(null) d=(null) o={"x":1,"y":[2,2]} l=(null)`,
	}
	if diff := cmp.Diff(want, rowsOf(t, b)); diff != "" {
		t.Error(diff)
	}
	if got := changesOf(t, b, 4); got != "" {
		t.Errorf("reports %s of values that do not count", got)
	}
}

func TestNamesInAnyOrderGiveTheSameRows(t *testing.T) {
	w := workloads[0]
	r := rand.New(rand.NewPCG(1, 2))
	sorted, shuffled := w.batch(t), w.batch(t)
	var plain, mixed strings.Builder
	for id := range 200 {
		members := splitMembers(w.record(r, id))
		plain.WriteString(recordLine("{" + strings.Join(members, ",") + "}"))
		r.Shuffle(len(members), func(i, j int) { members[i], members[j] = members[j], members[i] })
		members = slices.Insert(members, r.IntN(len(members)), fmt.Sprintf(`"unknown%d" : {"id":[%d]}`, id%7, id))
		mixed.WriteString(recordLine("{ " + strings.Join(members, " , ") + " }"))
	}
	var d Decoder
	if err := d.Decode([]byte(plain.String()), 1, 0, to(sorted)); err != nil {
		t.Fatal(err)
	}
	if err := d.Decode([]byte(mixed.String()), 1, 0, to(shuffled)); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(rowsOf(t, sorted), rowsOf(t, shuffled)); diff != "" {
		t.Error(diff)
	}
}

// splitMembers splits the text of an object at its outermost commas.
func splitMembers(text string) (members []string) {
	depth, start := 0, 1
	for i, c := range text {
		switch {
		case c == '{':
			depth++
		case c == '}':
			depth--
		}
		if c == ',' && depth == 1 || depth == 0 {
			members = append(members, text[start:i])
			start = i + 1
		}
	}
	return members
}

func TestRowsKeepTheirOrder(t *testing.T) {
	s := stream(properties(`"id":` + integerType))
	s.DestinationSyncMode, s.PrimaryKey = protocol.AppendDedup, [][]string{{"id"}}
	b := newTestBatch(t, s, Options{})
	other := newTestBatch(t, stream(properties(`"id":`+integerType)), Options{})
	route := func(_, name []byte) (*Batch, error) {
		if string(name) == "s" {
			return b, nil
		}
		return other, nil
	}
	lines := recordLine(`{"id":1}`) + strings.Replace(recordLine(`{"id":2}`), `"s"`, `"t"`, 1) + recordLine(`{"id":3}`)
	var d Decoder
	for seq := range uint64(2) {
		if err := d.Decode([]byte(lines), 1, seq, route); err != nil {
			t.Fatal(err)
		}
	}
	if diff := cmp.Diff([]uint64{0, 2, 1 << 32, 1<<32 | 2}, b.Order()); diff != "" {
		t.Error(diff)
	}
	if other.Order() != nil {
		t.Error("keeps an order that nobody needs")
	}
	b.Reset()
	if b.Rows() != 0 || len(b.Order()) != 0 {
		t.Error("is not empty after Reset")
	}
}

func TestBrokenLinesAreNamed(t *testing.T) {
	unknown := errors.New("no such stream")
	tests := []struct {
		name, line, want string
		kind             protocol.Kind
	}{
		{"cut off", `{"type":"RECORD","record":{"stream":"s","data":{"v":1`, "Line 8 of the input is a broken RECORD message: unexpected end of JSON input at byte 53.", protocol.SystemError},
		{"two in one", recordLine(`{"v":{"type":"RECORD"`), "Line 8 of the input is a broken RECORD message", protocol.SystemError},
		{"NaN", recordLine(`{"v":NaN}`), "invalid character 'N' looking for beginning of value at byte 80.", protocol.SystemError},
		{"leading zero", recordLine(`{"v":01}`), "invalid character '1'", protocol.SystemError},
		{"bare text after", strings.TrimSuffix(recordLine(`{"v":1}`), "\n") + "x\n", "invalid character 'x' after top-level value", protocol.SystemError},
		{"control character in a string", recordLine("{\"w\":\"a\tb\"}"), `invalid character '\t' in string literal`, protocol.SystemError},
		{"bad escape in what is skipped", recordLine(`{"other":["\q"]}`), `invalid character 'q' in string escape code`, protocol.SystemError},
		{"deep, and no record", `{"type":"STATE","state":` + strings.Repeat("[", 20_000) + strings.Repeat("]", 20_000) + `}`, "Line 8 of the input is not a valid RECORD message: its type is not RECORD.", protocol.SystemError},
		{"no object", `["RECORD"]`, "it is not an object", protocol.SystemError},
		{"very deep", recordLine(`{"other":` + strings.Repeat("[", 1_000_000)), "exceeded max depth", protocol.SystemError},
		{"no stream", `{"type":"RECORD","record":{"data":{}}}`, "it names no stream", protocol.SystemError},
		{"no data", `{"type":"RECORD","record":{"stream":"s"}}`, "it has no data", protocol.SystemError},
		{"null data", recordLine(`null`), "its data is not an object", protocol.SystemError},
		{"another type", `{"type":"STATE","state":{}}`, "its type is not RECORD", protocol.SystemError},
		{"null record", `{"type":"RECORD","record":null}`, "its record is not an object", protocol.SystemError},
		{"number as a stream", `{"type":"RECORD","record":{"stream":5,"data":{}}}`, "its stream or namespace is not a string", protocol.SystemError},
		{"text as a time", `{"type":"RECORD","record":{"stream":"s","emitted_at":"now","data":{}}}`, "its emitted_at is not a number", protocol.SystemError},
		{"unknown stream", `{"type":"RECORD","record":{"stream":"other","namespace":"n","data":{}}}`, `The source sent a record of stream "n.other", which is not in the catalog. The record is line 8 of the input.`, protocol.SystemError},
		{"refused stream", `{"type":"RECORD","record":{"stream":"refused","data":{}}}`, "line 8 of the input: no such stream", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			b := newTestBatch(t, stream(properties(`"v":`+integerType+`,"w":`+stringType)), Options{})
			route := func(_, name []byte) (*Batch, error) {
				switch string(name) {
				case "s":
					return b, nil
				case "refused":
					return nil, unknown
				}
				return nil, nil
			}
			var d Decoder
			err := d.Decode([]byte(recordLine(`{"v":1,"w":"x"}`)+tt.line), 7, 0, route)
			if err == nil {
				t.Fatal("accepted")
			}
			if !strings.Contains(err.Error(), tt.want) {
				t.Errorf("says %q, want %q", err, tt.want)
			}
			var e *protocol.Error
			if errors.As(err, &e) && e.Kind != tt.kind || e == nil && tt.kind != "" {
				t.Errorf("is %#v, want kind %q", e, tt.kind)
			}
			if diff := cmp.Diff([]string{"v=1 w=x"}, rowsOf(t, b)); diff != "" {
				t.Errorf("rows before the broken line: %s", diff)
			}
			if err := d.Decode([]byte(recordLine(`{"w":"y"}`)), 9, 0, route); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"v=1 w=x", "v=(null) w=y"}, rowsOf(t, b)); diff != "" {
				t.Errorf("rows after the broken line: %s", diff)
			}
		})
	}
}

func TestKeysAreNeverNull(t *testing.T) {
	for data, want := range map[string]string{
		`{"a":1,"b":"x"}`:                     "",
		`{"a":1,"b":null}`:                    "has no value in its primary key (a, b)",
		`{"b":"x"}`:                           "has no value in its primary key (a, b)",
		`{}`:                                  "has no value in its primary key (a, b)",
		`{"a":1,"b":"x","a":null}`:            "has no value in its primary key (a, b)",
		`{"a":"one","b":"x"}`:                 `primary key "a" has a value that does not fit`,
		`{"a":0.12345678901,"b":"x"}`:         `primary key "a" has a value that does not fit`,
		`{"a":null,"b":null,"a":2,"b":"\ty"}`: "",
	} {
		t.Run(data, func(t *testing.T) {
			s := stream(properties(`"a":` + numberType + `,"b":` + stringType))
			s.DestinationSyncMode, s.PrimaryKey = protocol.AppendDedup, [][]string{{"a"}, {"b"}}
			b := newTestBatch(t, s, Options{})
			var d Decoder
			err := d.Decode([]byte(recordLine(data)), 3, 0, to(b))
			validRecord(t, b)
			if want == "" {
				if err != nil || b.Rows() != 1 {
					t.Errorf("got %d rows and %v", b.Rows(), err)
				}
				return
			}
			var e *protocol.Error
			if !errors.As(err, &e) || e.Kind != protocol.ConfigError || e.Stream == nil || e.Stream.Name != "s" {
				t.Fatalf("got %#v, want a config error of stream s", err)
			}
			if !strings.Contains(err.Error(), want) || !strings.HasSuffix(err.Error(), " The record is line 3 of the input.") {
				t.Errorf("says %q, want %q", err, want)
			}
			if b.Rows() != 0 {
				t.Error("keeps the row")
			}
		})
	}
}

func TestDecodingAllocatesNothing(t *testing.T) {
	for _, w := range workloads {
		lines := w.lines(1 << 18)
		batch := w.batch(t)
		route := to(batch)
		var d Decoder
		allocs := testing.AllocsPerRun(20, func() {
			if err := d.Decode(lines, 1, 0, route); err != nil {
				t.Fatal(err)
			}
			batch.Reset()
		})
		if allocs > 0 {
			t.Errorf("%s: %v allocations", w.name, allocs)
		}
	}
}
