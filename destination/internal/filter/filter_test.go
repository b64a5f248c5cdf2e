package filter

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var schema = iceberg.NewSchema(
	0,
	iceberg.NestedField{ID: 1, Name: "id", Type: iceberg.PrimitiveTypes.Int64},
	iceberg.NestedField{ID: 2, Name: "name", Type: iceberg.PrimitiveTypes.String},
	iceberg.NestedField{ID: 3, Name: "score", Type: &iceberg.StructType{FieldList: []iceberg.NestedField{
		{ID: 4, Name: "state", Type: iceberg.PrimitiveTypes.String},
		{ID: 5, Name: "strain", Type: iceberg.PrimitiveTypes.Float64},
	}}},
	iceberg.NestedField{ID: 6, Name: "start", Type: iceberg.PrimitiveTypes.TimestampTz},
	iceberg.NestedField{ID: 7, Name: "local time", Type: iceberg.PrimitiveTypes.Timestamp},
	iceberg.NestedField{ID: 8, Name: "born", Type: iceberg.PrimitiveTypes.Date},
	iceberg.NestedField{ID: 9, Name: "nap", Type: iceberg.PrimitiveTypes.Bool},
	iceberg.NestedField{ID: 10, Name: "price", Type: iceberg.DecimalTypeOf(38, 9)},
	iceberg.NestedField{ID: 11, Name: "tags", Type: &iceberg.ListType{ElementID: 12, Element: iceberg.PrimitiveTypes.String}},
	iceberg.NestedField{ID: 13, Name: "a.b", Type: iceberg.PrimitiveTypes.Float32},
	iceberg.NestedField{ID: 14, Name: "raw", Type: iceberg.PrimitiveTypes.Binary},
)

const rows = `[
{"id":1,"name":"Ann","score":{"state":"SCORED","strain":1.5},"start":"2026-01-31T08:30:00Z","local time":"2026-01-31T08:30:00","born":"1990-05-17","nap":true,"price":"12.500000000","tags":["x"],"a.b":0.1,"raw":"AA=="},
{"id":-2,"name":"it's","score":{"state":null,"strain":-1},"start":"2026-01-31T08:30:00.000001Z","local time":"2026-02-01","born":"1990-05-18","nap":false,"price":"-0.000000001","tags":[],"a.b":2,"raw":null},
{"id":3,"name":"","score":null,"start":"1969-12-31T23:59:59.999999Z","born":null,"nap":null,"price":null,"tags":null},
{"id":null}
]`

// batch has the rows as a file does that was written with the schema, or with none of its field ids.
func batch(t testing.TB, fieldIDs bool) arrow.RecordBatch {
	t.Helper()
	columns, err := table.SchemaToArrowSchema(schema, nil, fieldIDs, false)
	if err != nil {
		t.Fatal(err)
	}
	rec, _, err := array.RecordFromJSON(memory.DefaultAllocator, columns, strings.NewReader(rows))
	if err != nil {
		t.Fatal(err)
	}
	return rec
}

func TestRowsThatAFilterMatches(t *testing.T) {
	for text, want := range map[string][]int{
		"id = 1": {0}, "id=1": {0}, "id != 1": {1, 2}, "id < 1": {1}, "id <= 1": {0, 1}, "id > 1": {2}, "id >= 1": {0, 2}, "id = '1'": {0}, "id >= -2.0": {0, 1, 2},
		"id is null": {3}, "id IS NULL": {3}, "id is not null": {0, 1, 2}, "id is null and name is null": {3}, "id > 0 and id < 3 And nap = true": {0},
		"name = Ann": {0}, "name = 'it''s'": {1}, `name = "it's"`: {1}, "name = ''": {2}, "name < B": {0, 2}, "name >= i": {1}, "name != Ann": {1, 2},
		"score.state = SCORED": {0}, "score.state is null": {1, 2, 3}, "score is null": {2, 3}, "score is not null": {0, 1}, "score.strain < 0": {1}, `"score"."strain" >= 1.5`: {0}, `score."strain" = 15e-1`: {0}, `"score".strain = 1.5`: {0},
		"start = 2026-01-31T08:30:00Z": {0}, "start = 2026-01-31T10:30:00+02:00": {0}, "start > '2026-01-31 08:30'": {1}, "start < 1970-01-01": {2}, "start >= 2026-01-31": {0, 1},
		"'local time' = 2026-01-31T08:30": {0}, `"local time" >= 2026-02-01`: {1},
		"born = 1990-05-17": {0}, "born > 1990-05-17": {1}, "nap = true": {0}, "nap != TRUE": {1}, "nap = False": {1},
		"price = 12.5": {0}, "price < 0": {1}, "price >= -0.000000001": {0, 1}, "price != 12.50": {1}, "price <= -0.0000000010": {1},
		"tags is null": {2, 3}, "tags is not null": {0, 1}, `"a.b" = 0.1`: {0}, `"a.b" > 0.1`: {1}, "raw is null": {1, 2, 3},
	} {
		f, err := Parse(text)
		if err == nil {
			var b *Bound
			if b, err = f.Bind(schema); err == nil {
				for _, fieldIDs := range []bool{true, false} {
					rec := batch(t, fieldIDs)
					m, err := b.In(rec.Schema())
					if err != nil {
						t.Fatalf("%s: %v", text, err)
					}
					var got []int
					for i := range int(rec.NumRows()) {
						if m.Matches(rec, i) {
							got = append(got, i)
						}
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s matches %v, want %v", text, got, want)
					}
				}
				continue
			}
		}
		t.Errorf("%s: %v", text, err)
	}
}

func TestFiltersThatCannotBeUsed(t *testing.T) {
	for text, want := range map[string]string{
		"": "it ends where a column", " ": "it ends where a column", "id": "after the column id comes", "id =": "there is no value after id =", "id = and id = 1": "there is no value after id =",
		"id = 1 or id = 2": `it has "or" where "and"`, "id = 1 and": "it ends where a column", "and": "names no column", "= 1": "names no column", "id == 1": `written "="`, "id <> 1": `written "!="`, "id =! 1": `no comparison "=!"`,
		"id = null": "write id is null", "id is 1": `"is" is followed by null`, "id is not 1": `"is" is followed by null`, "id is": `"is" is followed by null`, "name = 'x": "the quote 'x is not closed", `id = "`: "is not closed",
		"(id = 1)": `it has "("`, "id in (1,2)": "after the column id comes", "score..state = x": "a dot too many", ".id = 1": "a dot too many", "id. = 1": "a dot too many", "'' = 1": "names no column", "'id'. = 1": "names no column",
		"id = 1 2": `it has "2" where "and"`, "name = a b": `it has "b" where "and"`,

		"idd = 1": "Did you mean id?", "ID = 1": "Did you mean id?", "score.stat = x": "Did you mean score.state?", "state = x": "Did you mean score.state?", "beginning = x": `has no column "beginning". It has id, name, score, score.state`, "id.x = 1": "no column", "score.state.x = 1": "Did you mean score.state?",
		"id = x": "must be an integer", "id = 1.5": "must be an integer", "id = 9223372036854775808": "must be an integer", "score.strain = x": "must be a number", "score.strain = NaN": "must be a number",
		"start = yesterday": "must be a time, as in", "start = 2026-13-01": "must be a time", "start = 2026-01-31T08:30:00.0000001Z": "must be a time", "'local time' = 2026-01-31T08:30:00+02:00": "must be a time without a zone",
		"born = 17.5.1990": "must be a date", "born = 1990-05-17T08:00": "must be a date", "nap = 1": "must be true or false", "nap = t": "must be true or false", "nap < true": "is a boolean", "price = 1e3": "must be a number with up to 9", "price = 1.0000000001": "must be a number with up to 9",
		"tags = x": "it is a list or a map", "score = x": "as in score.x", "raw = x": "it is of type binary",
	} {
		f, err := Parse(text)
		if err == nil {
			_, err = f.Bind(schema)
		}
		var userError *protocol.Error
		if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, want) {
			t.Errorf("%q: %v, want %q", text, err, want)
		}
	}
}

// A file may have a column as a narrower type, in other units, under another name or not at all.
func TestFilesThatHaveOtherColumns(t *testing.T) {
	id := func(n string) arrow.Metadata { return arrow.NewMetadata([]string{"PARQUET:field_id"}, []string{n}) }
	columns := arrow.NewSchema([]arrow.Field{
		{Name: "old name", Type: arrow.PrimitiveTypes.Int32, Nullable: true, Metadata: id("1")},
		{Name: "start", Type: &arrow.TimestampType{Unit: arrow.Nanosecond, TimeZone: "UTC"}, Nullable: true, Metadata: id("6")},
		{Name: "local time", Type: &arrow.TimestampType{Unit: arrow.Millisecond}, Nullable: true, Metadata: id("7")},
		{Name: "name", Type: arrow.BinaryTypes.LargeString, Nullable: true, Metadata: id("99")},
	}, nil)
	rows := array.NewRecordBuilder(memory.DefaultAllocator, columns)
	for i, at := range []time.Time{time.Date(2026, 1, 31, 8, 30, 0, 0, time.UTC), time.Date(1960, 1, 31, 8, 30, 0, 0, time.UTC)} {
		rows.Field(0).(*array.Int32Builder).Append(int32(7 + i))
		rows.Field(1).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixNano() + 1))
		rows.Field(2).(*array.TimestampBuilder).Append(arrow.Timestamp(at.UnixMilli() + 1))
		rows.Field(3).(*array.LargeStringBuilder).Append("x")
	}
	rec := rows.NewRecordBatch()
	for text, want := range map[string][]int{
		"id = 7": {0}, "id > 2147483648": nil, "name is null": {0, 1}, "name = x": nil, "score.state is null": {0, 1}, "score.state is not null": nil,
		"start = 2026-01-31T08:30:00Z": nil, "start > 2026-01-31T08:30:00Z": {0}, "start < 2026-01-31T08:30:00.000001Z": {0, 1}, "start > 1960-01-31T08:30:00Z": {0, 1}, "start <= 1960-01-31T08:30:00Z": nil,
		"'local time' = 2026-01-31T08:30:00.001": {0}, "'local time' < 2026-01-31T08:30:00.001001": {0, 1}, "'local time' > 1960-01-31T08:30:00.000999": {0, 1}, "'local time' <= 1960-01-31T08:30:00.001001": {1}, "'local time' < 1960-01-31T08:30:00.001": nil,
	} {
		m, err := bound(t, text, schema).In(columns)
		if err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		var got []int
		for i := range int(rec.NumRows()) {
			if m.Matches(rec, i) {
				got = append(got, i)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s matches %v, want %v", text, got, want)
		}
	}
	for text, want := range map[string]string{"born = 2026-01-01": "and its default is not null", "name = x": "a file has it as int64", "score.state = x": "a file has score as utf8"} {
		other := iceberg.NewSchema(0, iceberg.NestedField{ID: 21, Name: "born", Type: iceberg.PrimitiveTypes.Date, InitialDefault: "2026-01-01"}, schema.Field(1), schema.Field(2))
		file := arrow.NewSchema([]arrow.Field{{Name: "name", Type: arrow.PrimitiveTypes.Int64}, {Name: "score", Type: arrow.BinaryTypes.String}}, nil)
		if _, err := bound(t, text, other).In(file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
}

func bound(t *testing.T, text string, of *iceberg.Schema) *Bound {
	t.Helper()
	f, err := Parse(text)
	if err != nil {
		t.Fatal(err)
	}
	b, err := f.Bind(of)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestTheColumnsOfAFilter(t *testing.T) {
	b := bound(t, "score.state = x and id = 1 and id < 3", schema)
	if got := b.FieldIDs(); !slices.Equal(got, []int{4, 1}) {
		t.Errorf("field ids %v", got)
	}
}

// Whatever text it is, it is read or refused; a filter that was read is refused by a table or evaluated.
func FuzzFilter(f *testing.F) {
	for _, text := range []string{
		"id = 1 and name != 'it''s'", `score."state" is not null and "a.b" < 1e3`, "price >= -0.5 and nap = true", "start < '2026-01-31 08:30' and born is null", "'local time' <= 2026-01-31T08:30", "tags is null", "a..b = (", "is is null",
	} {
		f.Add(text)
	}
	rec := batch(f, true)
	f.Fuzz(func(t *testing.T, text string) {
		parsed, err := Parse(text)
		if err != nil {
			return
		}
		b, err := parsed.Bind(schema)
		if err != nil {
			return
		}
		if _, err := iceberg.BindExpr(schema, b.Expression(), true); err != nil {
			t.Errorf("the library refuses %q: %v", text, err)
		}
		m, err := b.In(rec.Schema())
		if err != nil {
			t.Fatal(err)
		}
		for i := range int(rec.NumRows()) {
			m.Matches(rec, i)
		}
	})
}
