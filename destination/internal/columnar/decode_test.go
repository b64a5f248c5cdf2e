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
	layout, err := plan.Bind(plan.Schema)
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

const (
	stringType    = `{"type":["null","string"]}`
	booleanType   = `{"type":"boolean"}`
	integerType   = `{"type":"integer"}`
	numberType    = `{"type":"number"}`
	dateType      = `{"type":"string","format":"date"}`
	instantType   = `{"type":"string","format":"date-time"}`
	wallClockType = `{"type":"string","format":"date-time","airbyte_type":"timestamp_without_timezone"}`
	unionType     = `{"type":["string","integer"]}`
	objectType    = `{"type":"object","properties":{"a":{"type":"integer"}}}`
	listType      = `{"type":"array","items":{"type":"integer"}}`
)

func TestValuesThatFit(t *testing.T) {
	tests := []struct{ typ, in, want string }{
		{stringType, `"plain"`, `plain`},
		{stringType, `""`, ``},
		{stringType, `null`, `(null)`},
		{stringType, `"grün 日本 😴 longer than a word"`, `grün 日本 😴 longer than a word`},
		{stringType, `"\"\\\/\b\f\n\r\t\u00fc\ud83d\ude34"`, "\"\\/\b\f\n\r\tü😴"},
		{stringType, `"a\u0000b"`, "a\x00b"},
		{stringType, `"\ud800"`, "\ufffd"},
		{stringType, `"\udc00\ud800x"`, "\ufffd\ufffdx"},
		{stringType, `"\ud800\u0041"`, "\ufffdA"},
		{stringType, "\"a\xffb\xc3\"", "a\ufffdb\ufffd"},
		{stringType, `42`, `42`},
		{stringType, `-1.50e3`, `-1.50e3`},
		{stringType, `true`, `true`},
		{stringType, `{"a": [1, "x"]}`, `{"a": [1, "x"]}`},
		{stringType, "[\"\xff\"]", "[\"\ufffd\"]"},

		{booleanType, `true`, `true`},
		{booleanType, `false`, `false`},
		{booleanType, `"true"`, `true`},
		{booleanType, `"false"`, `false`},

		{integerType, `0`, `0`},
		{integerType, `-0`, `0`},
		{integerType, `-17`, `-17`},
		{integerType, `999999999999999999`, `999999999999999999`},
		{integerType, `9223372036854775807`, `9223372036854775807`},
		{integerType, `-9223372036854775808`, `-9223372036854775808`},
		{integerType, `9007199254740993`, `9007199254740993`},
		{integerType, `1.0`, `1`},
		{integerType, `12.00e1`, `120`},
		{integerType, `1e18`, `1000000000000000000`},
		{integerType, `100e-2`, `1`},
		{integerType, `"42"`, `42`},
		{integerType, `"-9223372036854775808"`, `-9223372036854775808`},
		{integerType, `"7.0"`, `7`},
		{integerType, `0e999999999999`, `0`},
		{`{"type":"number","airbyte_type":"integer"}`, `9007199254740993`, `9007199254740993`},

		{numberType, `0`, `0`},
		{numberType, `-0.0`, `-0`},
		{numberType, `1.5`, `1.5`},
		{numberType, `0.1`, `0.1`},
		{numberType, `123456789.123456789`, `1.2345678912345679e+08`},
		{numberType, `0.30000000000000004`, `0.30000000000000004`},
		{numberType, `1.7976931348623157e308`, `1.7976931348623157e+308`},
		{numberType, `1e-400`, `0`},
		{numberType, `"2.5"`, `2.5`},
		{numberType, `9007199254740993`, `9.007199254740992e+15`},
		{`{"type":["integer","number"]}`, `2.5`, `2.5`},

		{dateType, `"2024-02-29"`, `2024-02-29`},
		{dateType, `"0001-01-01"`, `0001-01-01`},
		{dateType, `"9999-12-31"`, `9999-12-31`},
		{dateType, `"1969-12-31"`, `1969-12-31`},
		{dateType, `"2024-02-29T00:00:00Z"`, `2024-02-29`},
		{dateType, `"2024-02-29 00:00"`, `2024-02-29`},

		{instantType, `"2024-02-29T12:34:56Z"`, `2024-02-29T12:34:56Z`},
		{instantType, `"2024-02-29T12:34:56.789Z"`, `2024-02-29T12:34:56.789Z`},
		{instantType, `"2024-02-29T12:34:56.123456Z"`, `2024-02-29T12:34:56.123456Z`},
		{instantType, `"2024-02-29T12:34:56.1234569Z"`, `2024-02-29T12:34:56.123456Z`},
		{instantType, `"2024-02-29T12:34:56,5Z"`, `2024-02-29T12:34:56.5Z`},
		{instantType, `"2024-02-29t12:34:56z"`, `2024-02-29T12:34:56Z`},
		{instantType, `"2024-02-29 12:34:56+02:00"`, `2024-02-29T10:34:56Z`},
		{instantType, `"2024-02-29T12:34:56-0530"`, `2024-02-29T18:04:56Z`},
		{instantType, `"2024-02-29T12:34:56+02"`, `2024-02-29T10:34:56Z`},
		{instantType, `"2024-02-29T12:34Z"`, `2024-02-29T12:34:00Z`},
		{instantType, `"2024-02-29T12:34:56"`, `2024-02-29T12:34:56Z`},
		{instantType, `"2024-02-29 12:34:56 UTC"`, `2024-02-29T12:34:56Z`},
		{instantType, `"2024-02-29 12:34:56 +0100"`, `2024-02-29T11:34:56Z`},
		{instantType, `"2024-02-29"`, `2024-02-29T00:00:00Z`},
		{instantType, `"2016-12-31T23:59:60Z"`, `2017-01-01T00:00:00Z`},
		{instantType, `"0001-01-01T00:00:00Z"`, `0001-01-01T00:00:00Z`},
		{instantType, `"9999-12-31T23:59:59.999999Z"`, `9999-12-31T23:59:59.999999Z`},
		{instantType, `"1969-12-31T23:59:59.5Z"`, `1969-12-31T23:59:59.5Z`},
		{instantType, `"2024-02-29T12:34:56\u005a"`, `2024-02-29T12:34:56Z`},

		{wallClockType, `"2024-02-29T12:34:56.5"`, `2024-02-29T12:34:56.5`},
		{wallClockType, `"2024-02-29 12:34"`, `2024-02-29T12:34:00`},
		{wallClockType, `"2024-02-29T12:34:56Z"`, `2024-02-29T12:34:56`},

		{`{"type":"string","format":"time"}`, `"12:34:56.789Z"`, `12:34:56.789Z`},

		{unionType, `"text"`, `"text"`},
		{unionType, `"\u00fc"`, `"\u00fc"`},
		{unionType, `42`, `42`},
		{unionType, `null`, `(null)`},
		{`{}`, `{"b" : [ 1,2 ] , "c":null}`, `{"b" : [ 1,2 ] , "c":null}`},
		{`{"type":"object"}`, `{"b":1}`, `{"b":1}`},
		{`{"type":"array"}`, `[1,"x",null]`, `[1,"x",null]`},
		{`{"type":"potato"}`, `false`, `false`},

		{objectType, `{"a":1}`, `{"a":1}`},
		{objectType, `{}`, `{"a":null}`},
		{objectType, `{"a":null,"b":{"c":[]}}`, `{"a":null}`},
		{objectType, `null`, `(null)`},
		{listType, `[]`, `[]`},
		{listType, `[1,2 , 3]`, `[1,2,3]`},
		{listType, `[1,null]`, `[1,null]`},
		{listType, `null`, `(null)`},
		{`{"type":"array","items":` + objectType + `}`, `[{"a":1},null,{"b":2},{"a":3}]`, `[{"a":1},null,{"a":null},{"a":3}]`},
		{`{"type":"array","items":` + listType + `}`, `[[1],[],null,[2,3]]`, `[[1],[],null,[2,3]]`},
		{`{"type":"array","items":` + unionType + `}`, `["x",1]`, `["\"x\"","1"]`},
	}
	for _, tt := range tests {
		t.Run(tt.typ+tt.in, func(t *testing.T) {
			b := newTestBatch(t, stream(properties(`"v":`+tt.typ)), Options{})
			var d Decoder
			if err := d.Decode([]byte(recordLine(`{"v":`+tt.in+`}`)), 1, 0, to(b)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"v=" + tt.want}, rowsOf(t, b)); diff != "" {
				t.Error(diff)
			}
			if got := changesOf(t, b, 0); got != "" {
				t.Errorf("reports %s", got)
			}
		})
	}
}

func TestDecimalsAreExact(t *testing.T) {
	for in, want := range map[string]string{
		`0`: "0", `-0.0`: "0", `1`: "1.000000000", `0.1`: "0.100000000", `-0.000000001`: "-0.000000001",
		`12345678901234567890123456789.123456789`:  "12345678901234567890123456789.123456789",
		`-99999999999999999999999999999.999999999`: "-99999999999999999999999999999.999999999",
		`1.50000000000000000000`:                   "1.500000000",
		`15e-1`:                                    "1.500000000",
		`1e28`:                                     "10000000000000000000000000000.000000000",
		`"19.99"`:                                  "19.990000000",
		`1e29`:                                     "tooLarge", `0.0000000001`: "tooLarge", `1e999999999`: "tooLarge", `"x"`: "wrong", `"1,5"`: "wrong",
	} {
		t.Run(in, func(t *testing.T) {
			b := newTestBatch(t, stream(properties(`"v":`+numberType)), Options{Numbers: Decimal})
			var d Decoder
			if err := d.Decode([]byte(recordLine(`{"v":`+in+`}`)), 1, 0, to(b)); err != nil {
				t.Fatal(err)
			}
			got := validRecord(t, b).Column(0).(*array.Decimal128)
			switch changes := changesOf(t, b, 0); changes {
			case "v:NULLED:" + string(tooLarge):
				if want != "tooLarge" || got.IsValid(0) {
					t.Errorf("is too large, want %s", want)
				}
			case "v:NULLED:" + string(wrong):
				if want != "wrong" || got.IsValid(0) {
					t.Errorf("is wrong, want %s", want)
				}
			default:
				if s := got.Value(0).ToString(decimalScale); s != want && (want != "0" || got.Value(0).Sign() != 0) || changes != "" {
					t.Errorf("got %s %s, want %s", s, changes, want)
				}
			}
		})
	}
}

func TestValuesThatDoNotFitBecomeNull(t *testing.T) {
	tests := []struct {
		typ, in string
		reason  fit
	}{
		{booleanType, `1`, wrong}, {booleanType, `"yes"`, wrong}, {booleanType, `{}`, wrong},
		{integerType, `1.5`, wrong}, {integerType, `"x"`, wrong}, {integerType, `""`, wrong}, {integerType, `" 1"`, wrong}, {integerType, `"01"`, wrong},
		{integerType, `true`, wrong}, {integerType, `[1]`, wrong}, {integerType, `{"a":1}`, wrong}, {integerType, `"NaN"`, wrong},
		{integerType, `9223372036854775808`, tooLarge}, {integerType, `-9223372036854775809`, tooLarge}, {integerType, `1e30`, tooLarge},
		{integerType, `1e99999999999999999999`, tooLarge}, {integerType, `"9223372036854775808"`, tooLarge},
		{numberType, `1e400`, tooLarge}, {numberType, `-1e400`, tooLarge}, {numberType, `"1e400"`, tooLarge},
		{numberType, `"NaN"`, wrong}, {numberType, `"Infinity"`, wrong}, {numberType, `"0x10"`, wrong}, {numberType, `"1_000"`, wrong}, {numberType, `true`, wrong},
		{dateType, `"2023-02-29"`, wrong}, {dateType, `"2024-2-9"`, wrong}, {dateType, `20240229`, wrong}, {dateType, `""`, wrong},
		{dateType, `"2024-02-29T12:00:00Z"`, wrong}, {dateType, `"2024-02-29x"`, wrong},
		{dateType, `"10000-01-01"`, tooLarge}, {dateType, `"0000-01-01"`, tooLarge}, {dateType, `"0044-03-15 BC"`, tooLarge},
		{instantType, `"soon"`, wrong}, {instantType, `1700000000`, wrong}, {instantType, `"2024-13-01T00:00:00Z"`, wrong},
		{instantType, `"2024-01-01T24:00:00Z"`, wrong}, {instantType, `"2024-01-01T00:60:00Z"`, wrong}, {instantType, `"2024-01-01T00:00:61Z"`, wrong},
		{instantType, `"2024-01-01T00:00:00+25:00"`, wrong}, {instantType, `"2024-01-01T00:00:00.Z"`, wrong}, {instantType, `"2024-01-01T00:00:00 PST"`, wrong},
		{instantType, `"2024-01-01T"`, wrong}, {instantType, `"2024-01-01T00:00:00+01:0"`, wrong},
		{instantType, `"0001-01-01T00:00:00+01:00"`, tooLarge}, {instantType, `"9999-12-31T23:59:59-01:00"`, tooLarge}, {instantType, `"9999-12-31T23:59:60Z"`, tooLarge},
		{wallClockType, `"2024-01-01T00:00:00+02:00"`, wrong},
		{objectType, `"{}"`, wrong}, {objectType, `[]`, wrong}, {objectType, `1`, wrong},
		{listType, `{}`, wrong}, {listType, `"[]"`, wrong}, {listType, `1`, wrong},
	}
	for _, tt := range tests {
		t.Run(tt.typ+tt.in, func(t *testing.T) {
			b := newTestBatch(t, stream(properties(`"v":`+tt.typ+`,"w":`+stringType)), Options{})
			var d Decoder
			if err := d.Decode([]byte(recordLine(`{"v":`+tt.in+`,"w":"kept"}`)), 1, 0, to(b)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff([]string{"v=(null) w=kept"}, rowsOf(t, b)); diff != "" {
				t.Error(diff)
			}
			if got, want := changesOf(t, b, 0), "v:NULLED:"+string(tt.reason); got != want {
				t.Errorf("reports %q, want %q", got, want)
			}
		})
	}
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
		line(`{"Foo.Bar":"x","o":{"N":1e40},"Foo.Bar":1,"o":{"N":2}}`, `null`)
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
	want := []string{"", f, f + " Foo.Bar" + w + " o.N" + l + " l.a" + w, "Foo.Bar" + w, f + " Foo.Bar" + w, ""}
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
		`{"record":{"stream":"\u0073","data":{"v":3},"emitted_at":null,"other":{"v":[1,{}]}},"extra":[],"type":"RECORD"}`,
		" {\t\"type\" : \"RECORD\" , \"record\" : { \"stream\" : \"s\" , \"emitted_at\" : 0 , \"data\" : { \"v\" : 4 } } } \r",
		`{"type":"LOG","type":"RECORD","record":{"stream":"x","stream":"s","data":{"v":9},"data":{"v":5},"emitted_at":-1}}`,
		`{"type":"RECORD","record":{"stream":"s","data":{"v":9}},"record":{"stream":"s","data":{"v":6},"emitted_at":1e300}}`,
		`{"type":"RECORD","record":{"stream":"s","data":{"v":103},"namespace":"x","namespace":"n"}}`,
	}, "\n") // the last one without a line feed
	var d Decoder
	if err := d.Decode([]byte(lines), 1, 0, route); err != nil {
		t.Fatal(err)
	}
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
	if diff := cmp.Diff([]string{"2023-11-14T22:13:20.001Z", "2023-11-14T22:13:20.003Z", "2023-11-14T22:13:20.25Z", "(null)",
		"1970-01-01T00:00:00Z", "1969-12-31T23:59:59Z", "(null)"}, times(def)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]string{"2023-11-14T22:13:20.002Z", "2023-11-14T22:13:20Z", "2023-11-14T22:13:20Z", "(null)"}, times(ns)); diff != "" {
		t.Error(diff)
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
		{"deep", recordLine(`{"other":` + strings.Repeat("[", 1001) + strings.Repeat("]", 1001) + `}`), "Line 8 of the input is no usable RECORD message: it nests deeper than 1000 levels.", protocol.SystemError},
		{"very deep", recordLine(`{"other":` + strings.Repeat("[", 1_000_000)), "exceeded max depth", protocol.SystemError},
		{"no stream", `{"type":"RECORD","record":{"data":{}}}`, "it names no stream", protocol.SystemError},
		{"no data", `{"type":"RECORD","record":{"stream":"s"}}`, "it has no data", protocol.SystemError},
		{"null data", recordLine(`null`), "its data is no object", protocol.SystemError},
		{"another type", `{"type":"STATE","state":{}}`, "its type is not RECORD", protocol.SystemError},
		{"null record", `{"type":"RECORD","record":null}`, "its record is no object", protocol.SystemError},
		{"number as a stream", `{"type":"RECORD","record":{"stream":5,"data":{}}}`, "its stream or namespace is no string", protocol.SystemError},
		{"text as a time", `{"type":"RECORD","record":{"stream":"s","emitted_at":"now","data":{}}}`, "its emitted_at is no number", protocol.SystemError},
		{"unknown stream", `{"type":"RECORD","record":{"stream":"other","namespace":"n","data":{}}}`, `line 8 of the input: The source sent a record of stream "n.other", which is not in the catalog.`, protocol.SystemError},
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
			if !strings.Contains(err.Error(), want) || !strings.HasPrefix(err.Error(), "line 3 of the input: ") {
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
