package columnar

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

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
		{stringType, `42`, `42`},
		{stringType, `-1.50e3`, `-1.50e3`},
		{stringType, `true`, `true`},
		{stringType, `{"a": [1, "x"]}`, `{"a": [1, "x"]}`},

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
		{instantType, `"2024-02-29T12:34:56.1234560Z"`, `2024-02-29T12:34:56.123456Z`},
		{instantType, `"1890-01-01T00:00:00+00:09:21"`, `1889-12-31T23:50:39Z`},
		{instantType, `"1890-01-01T00:00:00-000921"`, `1890-01-01T00:09:21Z`},
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

// What is not kept as it is has an entry that says so, also inside of objects and lists.
func TestLossyValuesAreTold(t *testing.T) {
	for _, tt := range []struct{ typ, in, want, change string }{
		{stringType, `"\ud800"`, "\ufffd", "v:TRUNCATED:DESTINATION_SERIALIZATION_ERROR"},
		{stringType, `"\udc00\ud800x"`, "\ufffd\ufffdx", "v:TRUNCATED:DESTINATION_SERIALIZATION_ERROR"},
		{stringType, `"\ud800\u0041"`, "\ufffdA", "v:TRUNCATED:DESTINATION_SERIALIZATION_ERROR"},
		{stringType, "\"a\xffb\xc3\"", "a\ufffdb\ufffd", "v:TRUNCATED:DESTINATION_SERIALIZATION_ERROR"},
		{stringType, "[\"\xff\"]", "[\"\ufffd\"]", "v:TRUNCATED:DESTINATION_SERIALIZATION_ERROR"},
		{unionType, "\"\xff\"", "\"\ufffd\"", "v:TRUNCATED:DESTINATION_SERIALIZATION_ERROR"},
		{`{"type":"array","items":` + stringType + `}`, `["a","\ud800"]`, "[\"a\",\"\ufffd\"]", "v:TRUNCATED:DESTINATION_SERIALIZATION_ERROR"},
		{`{"type":"object","properties":{"a":` + stringType + `}}`, `{"a":"\ud800"}`, "{\"a\":\"\ufffd\"}", "v.a:TRUNCATED:DESTINATION_SERIALIZATION_ERROR"},
		{instantType, `"2024-02-29T12:34:56.1234569Z"`, `2024-02-29T12:34:56.123456Z`, "v:TRUNCATED:DESTINATION_FIELD_SIZE_LIMITATION"},
		{wallClockType, `"2024-02-29T12:34:56.1234561"`, `2024-02-29T12:34:56.123456`, "v:TRUNCATED:DESTINATION_FIELD_SIZE_LIMITATION"},
	} {
		b := newTestBatch(t, stream(properties(`"v":`+tt.typ)), Options{})
		var d Decoder
		if err := d.Decode([]byte(recordLine(`{"v":`+tt.in+`}`)), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"v=" + tt.want}, rowsOf(t, b)); diff != "" {
			t.Errorf("%s: %s", tt.in, diff)
		}
		if got := changesOf(t, b, 0); got != tt.change {
			t.Errorf("%s: reports %s, want %s", tt.in, got, tt.change)
		}
	}
}

// However deep a value nests, its row is kept; JSON text that nobody could read is not.
func TestDeepValuesBecomeNull(t *testing.T) {
	for _, depth := range []int{1, 2, maxDepth - 1, maxDepth, maxDepth + 1, 20_001, testsize.Of(1<<17, 1<<20)} {
		value := strings.Repeat(`{"a":[`, depth/2) + strings.Repeat("[", depth%2) + strings.Repeat("]", depth%2) + strings.Repeat("]}", depth/2)
		for _, tt := range []struct{ typ, in, field string }{
			{unionType, value, "v"},
			{stringType, value, "v"},
			{`{"type":"array","items":` + unionType + `}`, `[` + value + `]`, "v"},
			{properties(`"a":` + unionType), `{"a":` + value + `}`, "v.a"},
			{`{"type":"array","items":` + properties(`"a":`+unionType) + `}`, `[{"a":` + value + `}]`, "v.a"},
			{properties(`"b":` + unionType), `{"a":` + value + `}`, ""}, // not in the schema
		} {
			b := newTestBatch(t, stream(properties(`"v":`+tt.typ)), Options{})
			var d Decoder
			if err := d.Decode([]byte(recordLine(`{"v":`+tt.in+`}`)), 1, 0, to(b)); err != nil {
				t.Fatal(err)
			}
			want := ""
			if depth > maxDepth && tt.field != "" {
				want = tt.field + ":NULLED:DESTINATION_FIELD_SIZE_LIMITATION"
			}
			if got := changesOf(t, b, 0); got != want || b.Rows() != 1 {
				t.Errorf("%d levels in %s: %d rows, reports %s, want %s", depth, tt.typ, b.Rows(), got, want)
			}
			if c := validRecord(t, b).Column(0); tt.in == value && c.IsNull(0) != (want != "") {
				t.Errorf("%d levels in %s: null is %t", depth, tt.typ, c.IsNull(0))
			}
		}
	}
}

// A cursor beyond the range of its column is still newer, or older, than those within.
func TestCursorsBeyondTheirRange(t *testing.T) {
	const cut = "c:TRUNCATED:DESTINATION_FIELD_SIZE_LIMITATION"
	for _, tt := range []struct{ typ, in, want string }{
		{integerType, `92233720368547758080`, "9223372036854775807"},
		{integerType, `"-1e30"`, "-9223372036854775808"},
		{numberType, `1e40`, "99999999999999999999999999999.999999999"},
		{numberType, `0.1e41`, "99999999999999999999999999999.999999999"},
		{numberType, `-1e999999`, "-99999999999999999999999999999.999999999"},
		{instantType, `"10000-01-01T00:00:00Z"`, "9999-12-31T23:59:59.999999Z"},
		{instantType, `"0044-03-15T12:00:00Z BC"`, "0001-01-01T00:00:00Z"},
		{instantType, `"0000-01-01T12:00:00Z"`, "0001-01-01T00:00:00Z"},
		{wallClockType, `"12024-01-01T00:00:00"`, "9999-12-31T23:59:59.999999"},
		{dateType, `"10000-01-01"`, "9999-12-31"},
		{dateType, `"0000-12-31"`, "0001-01-01"},
	} {
		s := stream(properties(`"id":` + integerType + `,"c":` + tt.typ))
		s.DestinationSyncMode, s.PrimaryKey, s.CursorField = protocol.AppendDedup, [][]string{{"id"}}, []string{"c"}
		b := newTestBatch(t, s, Options{})
		var d Decoder
		if err := d.Decode([]byte(recordLine(`{"id":1,"c":`+tt.in+`}`)), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{"id=1 c=" + tt.want}, rowsOf(t, b)); diff != "" {
			t.Errorf("%s: %s", tt.in, diff)
		}
		if got := changesOf(t, b, 0); got != cut {
			t.Errorf("%s: reports %s", tt.in, got)
		}
	}
}

// Two keys must not become one.
func TestKeysThatAreNotKeptAsTheyAre(t *testing.T) {
	for name, tt := range map[string]struct{ typ, in, want string }{
		"finer than microseconds": {instantType, `"2024-01-01T00:00:00.1234567Z"`, "finer than microseconds"},
		"ten decimal places":      {numberType, `0.1234567891`, "nine decimal places"},
		"half a surrogate pair":   {stringType, `"a\ud800"`, "not valid Unicode"},
		"bytes that are no text":  {stringType, "\"a\xff\"", "not valid Unicode"},
		"another type":            {integerType, `"x"`, "does not fit the type"},
	} {
		s := stream(properties(`"v":` + tt.typ))
		s.DestinationSyncMode, s.PrimaryKey = protocol.AppendDedup, [][]string{{"v"}}
		b := newTestBatch(t, s, Options{})
		var d Decoder
		err := d.Decode([]byte(recordLine(`{"v":`+tt.in+`}`)), 1, 0, to(b))
		var e *protocol.Error
		if !errors.As(err, &e) || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, tt.want) || !strings.Contains(e.Message, `"v"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Any value but null deletes, declared or not, whatever its type; readers of the column see one.
func TestAnyValueDeletes(t *testing.T) {
	for _, declared := range []string{"", `,"_ab_cdc_deleted_at":` + instantType, `,"_ab_cdc_deleted_at":` + stringType, `,"_ab_cdc_deleted_at":{"type":"boolean"}`, `,"_ab_cdc_deleted_at":` + integerType} {
		s := stream(properties(`"v":` + integerType + declared))
		s.DestinationSyncMode, s.PrimaryKey = protocol.AppendDedup, [][]string{{"v"}}
		values := []string{`"2024-01-01T00:00:00Z"`, `null`, `0`, `false`, `""`, `{}`, `[]`, `"never"`, ` null`}
		var lines strings.Builder
		for _, value := range values {
			lines.WriteString(recordLine(`{"_ab_cdc_deleted_at":` + value + `,"v":1}`))
		}
		lines.WriteString(recordLine(`{"v":1}`))
		b := newTestBatch(t, s, Options{})
		var d Decoder
		if err := d.Decode([]byte(lines.String()), 1, 0, to(b)); err != nil {
			t.Fatal(err)
		}
		rec := validRecord(t, b)
		for i, order := range b.Order() {
			want := i < len(values) && strings.TrimSpace(values[i]) != "null"
			if got := order&Deletes != 0; got != want || order&^uint64(Deletes) != uint64(i) {
				t.Errorf("%s: record %d deletes: %t, its place is %d", declared, i, got, order&^uint64(Deletes))
			}
			if declared != "" && rec.Column(1).IsValid(i) != want {
				t.Errorf("%s: record %d: the column has %s", declared, i, rec.Column(1).ValueStr(i))
			}
		}
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
		`55.066315446079813`:                       "rounded 55.066315446",
		`0.0000000005`:                             "rounded 0", `0.0000000015`: "rounded 0.000000002", `0.00000000050001`: "rounded 0.000000001", `-1e-30`: "rounded 0",
		`99999999999999999999999999999.9999999994`: "rounded 99999999999999999999999999999.999999999",
		`99999999999999999999999999999.9999999995`: "tooLarge",
		`1e29`: "tooLarge", `1e999999999`: "tooLarge", `"x"`: "wrong", `"1,5"`: "wrong",
	} {
		t.Run(in, func(t *testing.T) {
			b := newTestBatch(t, stream(properties(`"v":`+numberType)), Options{Numbers: Decimal})
			var d Decoder
			if err := d.Decode([]byte(recordLine(`{"v":`+in+`}`)), 1, 0, to(b)); err != nil {
				t.Fatal(err)
			}
			got := validRecord(t, b).Column(0).(*array.Decimal128)
			switch changes := changesOf(t, b, 0); changes {
			case "v:NULLED:" + string(scalar.TooLarge):
				if want != "tooLarge" || got.IsValid(0) {
					t.Errorf("is too large, want %s", want)
				}
			case "v:NULLED:" + string(scalar.WrongType):
				if want != "wrong" || got.IsValid(0) {
					t.Errorf("is wrong, want %s", want)
				}
			case "v:TRUNCATED:" + string(scalar.TooLarge):
				if s := got.Value(0).ToString(decimalScale); "rounded "+s != want && (want != "rounded 0" || got.Value(0).Sign() != 0) {
					t.Errorf("rounded to %s, want %s", s, want)
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
		reason  scalar.Fit
	}{
		{booleanType, `1`, scalar.WrongType},
		{booleanType, `"yes"`, scalar.WrongType},
		{booleanType, `{}`, scalar.WrongType},
		{integerType, `1.5`, scalar.WrongType},
		{integerType, `"x"`, scalar.WrongType},
		{integerType, `""`, scalar.WrongType},
		{integerType, `" 1"`, scalar.WrongType},
		{integerType, `"01"`, scalar.WrongType},
		{integerType, `true`, scalar.WrongType},
		{integerType, `[1]`, scalar.WrongType},
		{integerType, `{"a":1}`, scalar.WrongType},
		{integerType, `"NaN"`, scalar.WrongType},
		{integerType, `9223372036854775808`, scalar.TooLarge},
		{integerType, `-9223372036854775809`, scalar.TooLarge},
		{integerType, `1e30`, scalar.TooLarge},
		{integerType, `1e99999999999999999999`, scalar.TooLarge},
		{integerType, `"9223372036854775808"`, scalar.TooLarge},
		{numberType, `1e400`, scalar.TooLarge},
		{numberType, `-1e400`, scalar.TooLarge},
		{numberType, `"1e400"`, scalar.TooLarge},
		{numberType, `"NaN"`, scalar.WrongType},
		{numberType, `"Infinity"`, scalar.WrongType},
		{numberType, `"0x10"`, scalar.WrongType},
		{numberType, `"1_000"`, scalar.WrongType},
		{numberType, `true`, scalar.WrongType},
		{dateType, `"2023-02-29"`, scalar.WrongType},
		{dateType, `"2024-2-9"`, scalar.WrongType},
		{dateType, `20240229`, scalar.WrongType},
		{dateType, `""`, scalar.WrongType},
		{dateType, `"2024-02-29T12:00:00Z"`, scalar.WrongType},
		{dateType, `"2024-02-29x"`, scalar.WrongType},
		{dateType, `"10000-01-01"`, scalar.TooLarge},
		{dateType, `"0000-01-01"`, scalar.TooLarge},
		{dateType, `"0044-03-15 BC"`, scalar.TooLarge},
		{instantType, `"soon"`, scalar.WrongType},
		{instantType, `1700000000`, scalar.WrongType},
		{instantType, `"2024-13-01T00:00:00Z"`, scalar.WrongType},
		{instantType, `"2024-01-01T24:00:00Z"`, scalar.WrongType},
		{instantType, `"2024-01-01T00:60:00Z"`, scalar.WrongType},
		{instantType, `"2024-01-01T00:00:61Z"`, scalar.WrongType},
		{instantType, `"2024-01-01T00:00:00+25:00"`, scalar.WrongType},
		{instantType, `"2024-01-01T00:00:00.Z"`, scalar.WrongType},
		{instantType, `"2024-01-01T00:00:00 PST"`, scalar.WrongType},
		{instantType, `"2024-01-01T"`, scalar.WrongType},
		{instantType, `"2024-01-01T00:00:00+01:0"`, scalar.WrongType},
		{instantType, `"0001-01-01T00:00:00+01:00"`, scalar.TooLarge},
		{instantType, `"9999-12-31T23:59:59-01:00"`, scalar.TooLarge},
		{instantType, `"9999-12-31T23:59:60Z"`, scalar.TooLarge},
		{wallClockType, `"2024-01-01T00:00:00+02:00"`, scalar.WrongType},
		{objectType, `"{}"`, scalar.WrongType},
		{objectType, `[]`, scalar.WrongType},
		{objectType, `1`, scalar.WrongType},
		{listType, `{}`, scalar.WrongType},
		{listType, `"[]"`, scalar.WrongType},
		{listType, `1`, scalar.WrongType},
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
