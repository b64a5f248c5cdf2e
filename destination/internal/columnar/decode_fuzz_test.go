package columnar

import (
	"bytes"
	"encoding/json"
	"math"
	"math/big"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/jsonscan"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/scalar"
)

// fuzzSchema has a column of each kind, at the top, in a struct and in a list.
var fuzzSchema = func() string {
	kinds := `"s":` + stringType + `,"b":` + booleanType + `,"i":` + integerType + `,"n":` + numberType +
		`,"d":` + dateType + `,"t":` + instantType + `,"w":` + wallClockType + `,"u":` + unionType
	return properties(kinds + `,"o":` + properties(kinds) + `,"l":{"type":"array","items":` + integerType + `},"lo":{"type":"array","items":` + properties(kinds) + `}`)
}()

// FuzzDecode holds the decoder against encoding/json, under each option by
// turns: both accept the same lines and find the same values in them.
func FuzzDecode(f *testing.F) {
	for _, data := range []string{
		`{}`, `{"s":"x","b":true,"i":1,"n":1.5,"d":"2024-02-29","t":"2024-02-29T12:00:00Z","w":"2024-02-29T12:00:00","u":[1]}`,
		`{"o":{"i":1,"i":2},"o":{"n":-1e5},"l":[1,"2",null,3.0],"lo":[{"s":"a"},{},null,{"i":9223372036854775808}]}`,
		`{"i":1e3,"i":"12","n":1e400,"s":{"a":"\ud83d\ude34"},"x":{"y":[{}]}}`, `{"s":"\ud800\u0000","u":"\"","\u0069":5}`,
		`{"n":0.1e1,"t":"0008-01-01T0:00:00Z","w":"2024-02-29T1:00:00"}`, `{"n":0.1e1,"i":-0,"s":"` + strings.Repeat("long ", 9) + `"}`, `{"u":` + strings.Repeat("[", maxDepth+1) + strings.Repeat("]", maxDepth+1) + `}`, `{"i":01}`, `{"i":1,}`, `{"lo":[{"i":1],{}]}`, `{"s":"` + "\xff\xe2\x82" + `"}`,
	} {
		f.Add(`{"type":"RECORD","record":{"stream":"s","emitted_at":1,"data":` + data + `}}`)
		f.Add(`{"record":{"data":` + data + ` , "stream":"s"},"type":"RECORD"}`)
	}
	f.Fuzz(func(t *testing.T, line string) {
		if line == "" || strings.Contains(line, "\n") {
			return // not one line
		}
		options := []Options{{}, {Numbers: Decimal}, {Nested: JSON}}[len(line)%3]
		checkLine(t, line, options)
		checkLine(t, line+strings.Repeat(" ", 64), options) // far from the end of the text, words are read at once
	})
}

func checkLine(t *testing.T, line string, options Options) {
	b := newTestBatch(t, stream(fuzzSchema), options)
	var d Decoder
	// what comes before must leave no trace
	if err := d.Decode([]byte(recordLine(`{"i":7,"o":{"i":7},"l":[7],"lo":[{"i":7}]}`)), 1, 0, to(b)); err != nil {
		t.Fatal(err)
	}
	err := d.Decode([]byte(line), 2, 1, to(b))
	want, usable := oracleRecord([]byte(line))
	if (err == nil) != usable && strings.Count(line, "[")+strings.Count(line, "{") <= 10_000 { // encoding/json's limit
		t.Fatalf("decoder says %v, oracle says usable=%t", err, usable)
	}
	rec := validRecord(t, b)
	if err != nil {
		if rec.NumRows() != 1 {
			t.Fatal("keeps a row of a line it refused")
		}
		return
	}
	for i, f := range b.layout.fields[:len(b.layout.fields)-airbyteColumns] {
		value, present := want[f.name]
		checkValue(t, f, rec.Column(i), 1, value, present)
	}
	if got := changesOf(t, b, 0); got != "" {
		t.Fatalf("the row before reports %s", got)
	}
}

// oracleRecord reads a line as encoding/json does, and applies what a record
// needs to be one.
func oracleRecord(line []byte) (data map[string]any, usable bool) {
	message, ok := oracleObject(line)
	if !ok || string(message["type"]) != `"RECORD"` {
		return nil, false
	}
	record, ok := oracleObject(message["record"])
	if !ok || !isText(record["stream"]) || record["namespace"] != nil && !isText(record["namespace"]) && string(record["namespace"]) != "null" {
		return nil, false
	}
	if at := record["emitted_at"]; at != nil && string(at) != "null" && !strings.ContainsAny(string(at[:1]), "-0123456789") {
		return nil, false
	}
	if record["data"] == nil || record["data"][0] != '{' {
		return nil, false
	}
	dec := json.NewDecoder(bytes.NewReader(record["data"]))
	dec.UseNumber()
	return data, dec.Decode(&data) == nil
}

// oracleObject reads the members of an object; every one of them must be of
// the form that the decoder checks when it passes it, so repeated envelope
// members count as unusable when one of them is.
func oracleObject(raw json.RawMessage) (members map[string]json.RawMessage, ok bool) {
	return members, len(raw) > 0 && json.Valid(raw) && json.Unmarshal(raw, &members) == nil && members != nil
}

func isText(raw json.RawMessage) bool { return len(raw) > 0 && raw[0] == '"' }

func checkValue(t *testing.T, f field, c arrow.Array, row int, want any, present bool) {
	t.Helper()
	if !present || want == nil {
		if !c.IsNull(row) {
			t.Fatalf("%s: got %s, want null", f.name, c.ValueStr(row))
		}
		return
	}
	text, isText := want.(string)
	number, isNumber := want.(json.Number)
	if isNumber {
		text = number.String()
	}
	switch f.kind {
	case kindString:
		if isText && (c.IsNull(row) || c.(*array.String).Value(row) != text) {
			t.Fatalf("%s: got %q, want %q", f.name, c.ValueStr(row), text)
		}
		if !isText {
			checkJSON(t, f, c, row, want)
		}
	case kindJSON:
		checkJSON(t, f, c, row, want)
	case kindBoolean:
		yes, is := want.(bool)
		if text == "true" || text == "false" {
			yes, is = text == "true", true
		}
		if c.IsNull(row) == is || is && c.(*array.Boolean).Value(row) != yes {
			t.Fatalf("%s: got %s, want %v", f.name, c.ValueStr(row), want)
		}
	case kindLong:
		exact, is := oracleNumber(text)
		is = is && exact.IsInt() && exact.Num().IsInt64()
		if c.IsNull(row) == is || is && c.(*array.Int64).Value(row) != exact.Num().Int64() {
			t.Fatalf("%s: got %s, want %v", f.name, c.ValueStr(row), want)
		}
	case kindDouble:
		v, err := strconv.ParseFloat(text, 64)
		is := err == nil && isJSONNumber(text)
		if c.IsNull(row) == is || is && math.Float64bits(c.(*array.Float64).Value(row)) != math.Float64bits(v) {
			t.Fatalf("%s: got %s, want %v", f.name, c.ValueStr(row), want)
		}
	case kindDecimal:
		exact, is := oracleNumber(text)
		if !is && isJSONNumber(text) {
			return // beyond the oracle
		}
		scaled, fit := oracleDecimal(exact, is)
		if c.IsNull(row) == fit || fit && c.(*array.Decimal128).Value(row).BigInt().Cmp(scaled) != 0 {
			t.Fatalf("%s: got %s, want %v", f.name, c.ValueStr(row), want)
		}
	case kindTimestampTZ:
		if at, err := time.Parse(time.RFC3339Nano, text); isText && err == nil && strictTime.MatchString(text) && at.UTC().Year() >= 1 && at.UTC().Year() <= 9999 {
			if c.IsNull(row) || int64(c.(*array.Timestamp).Value(row)) != at.UnixMicro() {
				t.Fatalf("%s: got %s, want %s", f.name, c.ValueStr(row), text)
			}
		} else if !isText && !c.IsNull(row) {
			t.Fatalf("%s: got %s, want null", f.name, c.ValueStr(row))
		}
	case kindDate:
		if day, err := time.Parse(time.DateOnly, text); isText && err == nil && day.Year() >= 1 {
			if c.IsNull(row) || int64(c.(*array.Date32).Value(row))*scalar.SecondsPerDay != day.Unix() {
				t.Fatalf("%s: got %s, want %s", f.name, c.ValueStr(row), text)
			}
		} else if !isText && !c.IsNull(row) {
			t.Fatalf("%s: got %s, want null", f.name, c.ValueStr(row))
		}
	case kindTimestamp:
		if at, err := time.Parse("2006-01-02T15:04:05", text); isText && err == nil && strictTime.MatchString(text) && at.Year() >= 1 {
			if c.IsNull(row) || int64(c.(*array.Timestamp).Value(row)) != at.UnixMicro() {
				t.Fatalf("%s: got %s, want %s", f.name, c.ValueStr(row), text)
			}
		} else if !isText && !c.IsNull(row) {
			t.Fatalf("%s: got %s, want null", f.name, c.ValueStr(row))
		}
	case kindStruct:
		members, is := want.(map[string]any)
		if c.IsNull(row) == is {
			t.Fatalf("%s: got %s, want %v", f.name, c.ValueStr(row), want)
		}
		if is {
			for i, inner := range f.fields {
				value, present := members[inner.name]
				checkValue(t, inner, c.(*array.Struct).Field(i), row, value, present)
			}
		}
	case kindList:
		elements, is := want.([]any)
		if c.IsNull(row) == is {
			t.Fatalf("%s: got %s, want %v", f.name, c.ValueStr(row), want)
		}
		if is {
			start, end := c.(*array.List).ValueOffsets(row)
			if int(end-start) != len(elements) {
				t.Fatalf("%s: got %d elements, want %d", f.name, end-start, len(elements))
			}
			for i, value := range elements {
				checkValue(t, *f.element, c.(*array.List).ListValues(), int(start)+i, value, true)
			}
		}
	}
}

// checkJSON checks a column that holds the value as JSON text.
func checkJSON(t *testing.T, f field, c arrow.Array, row int, want any) {
	t.Helper()
	if depthOf(want) > maxDepth {
		if c.IsValid(row) {
			t.Fatalf("%s: keeps %d levels", f.name, depthOf(want))
		}
		return
	}
	var got any
	dec := json.NewDecoder(strings.NewReader(c.(*array.String).Value(row)))
	dec.UseNumber()
	if c.IsNull(row) || dec.Decode(&got) != nil || !sameJSON(got, want) {
		t.Fatalf("%s: got %s, want %v", f.name, c.ValueStr(row), want)
	}
}

// depthOf tells how deep a value nests.
func depthOf(value any) int {
	depth := 0
	switch value := value.(type) {
	case []any:
		for _, v := range value {
			depth = max(depth, depthOf(v))
		}
	case map[string]any:
		for _, v := range value {
			depth = max(depth, depthOf(v))
		}
	default:
		return 0
	}
	return depth + 1
}

func isJSONNumber(text string) bool {
	return text != "" && strings.Trim(text, "+-.eE0123456789") == "" && json.Valid([]byte(text))
}

// oracleNumber gives up on exponents that would fill the memory; nothing as
// large fits a long, nothing as small is an integer.
func oracleNumber(text string) (*big.Rat, bool) {
	if !isJSONNumber(text) {
		return nil, false
	}
	if f, err := strconv.ParseFloat(text, 64); err != nil || f != 0 && math.Abs(f) < 1e-300 {
		return nil, false
	}
	mantissa, _, _ := strings.Cut(strings.ToLower(text), "e")
	if strings.Trim(mantissa, "-.0") == "" {
		return new(big.Rat), true
	}
	return new(big.Rat).SetString(text)
}

// oracleDecimal is a number as the decimal column keeps it, if it can: the nearest, of two the even one.
func oracleDecimal(exact *big.Rat, is bool) (*big.Int, bool) {
	if !is {
		return nil, false
	}
	scaled := new(big.Rat).Mul(exact, big.NewRat(1_000_000_000, 1))
	limit := new(big.Int).Exp(big.NewInt(10), big.NewInt(decimalPrecision), nil)
	nearest, rest := new(big.Int).QuoRem(scaled.Num(), scaled.Denom(), new(big.Int))
	twice := new(big.Int).Abs(rest.Lsh(rest, 1))
	if c := twice.Cmp(scaled.Denom()); c > 0 || c == 0 && nearest.Bit(0) == 1 {
		nearest.Add(nearest, big.NewInt(int64(scaled.Sign())))
	}
	return nearest, nearest.CmpAbs(limit) < 0
}

// strictTime is what RFC 3339 demands of a time of day and time.Parse does not:
// two digits of the hour, and an offset below 24 hours.
var strictTime = regexp.MustCompile(`T\d\d:\d\d:\d\d([.,]\d+)?(Z|[+-]([01]\d|2[0-3]):[0-5]\d)$`)

func sameJSON(a, b any) bool {
	x, errA := json.Marshal(a)
	y, errB := json.Marshal(b)
	return errA == nil && errB == nil && bytes.Equal(x, y)
}

// FuzzNumbers holds the parsers of numbers against math/big and strconv.
func FuzzNumbers(f *testing.F) {
	for _, text := range []string{"0", "-0.0", "1e3", "12.50e1", "9223372036854775808", "0.000000001", "1e-9", "123456789012345678901234567890.12", "00", "1.", "1e", "-", "5e-324"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		checkNumber(t, text, []byte(text+"\n"))
		checkNumber(t, text, []byte(text+","+strings.Repeat("7", 64)+"\n")) // far from the end of the text, words are read at once
	})
}

// checkNumber checks what is read of a text that a line begins with.
func checkNumber(t *testing.T, text string, line []byte) {
	valid := isJSONNumber(text)
	if got := scalar.IsNumber([]byte(text)); got != valid {
		t.Fatalf("%q: isNumber says %t", text, got)
	}
	if end := jsonscan.SkipNumber(line, 0); (end == len(text)) != valid {
		t.Fatalf("%q: skipNumber stops at %d", text, end)
	}
	exact, is := oracleNumber(text)
	long, fit := scalar.ParseLong([]byte(text))
	if isLong := is && exact.IsInt() && exact.Num().IsInt64(); (fit == scalar.Fits) != isLong || isLong && exact.Num().Int64() != long {
		t.Fatalf("%q: long %d %s", text, long, fit)
	}
	if v, end := scalar.PlainInteger(line, 0); end == len(text) && (fit != scalar.Fits || v != long) {
		t.Fatalf("%q: the fast path says %d", text, v)
	}
	if v, end := scalar.PlainDouble(line, 0); end == len(text) {
		if want, err := strconv.ParseFloat(text, 64); err != nil || !valid || math.Float64bits(v) != math.Float64bits(want) {
			t.Fatalf("%q: the fast path says %v", text, v)
		}
	}
	low, high, fit := scalar.ParseDecimal([]byte(text))
	if l, h, end := scalar.PlainDecimal(line, 0); end == len(text) && (fit != scalar.Fits || l != low || h != high) {
		t.Fatalf("%q: the fast path says %d %d", text, h, l)
	}
	if !is {
		return
	}
	scaled := new(big.Rat).Mul(exact, big.NewRat(1_000_000_000, 1))
	if want, isDecimal := oracleDecimal(exact, is); fit.Kept() != isDecimal || isDecimal && (fit == scalar.Fits) != scaled.IsInt() {
		t.Fatalf("%q: decimal %s", text, fit)
	} else if got := new(big.Int).Add(new(big.Int).Lsh(big.NewInt(high), 64), new(big.Int).SetUint64(uint64(low))); isDecimal && got.Cmp(want) != 0 {
		t.Fatalf("%q: decimal %s", text, got)
	}
}
