//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/big"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
)

// Tables that 1, 2 and 8 workers write equal those of a writer that is as simple as can be:
// encoding/json and a plain Parquet file. Three engines compare them row by row. The records
// are those of the benchmarks, and a third of them have values that do not fit;
// ACCEPTANCE_REFERENCE_MB is how many megabytes of them there are.
func TestTablesEqualThoseOfAReferenceWriter(t *testing.T) {
	t.Parallel()
	megabytes := 20 // a worker gets one at a time
	if text := os.Getenv("ACCEPTANCE_REFERENCE_MB"); text != "" {
		var err error
		if megabytes, err = strconv.Atoi(text); err != nil {
			t.Fatalf("ACCEPTANCE_REFERENCE_MB: %v", err)
		}
	}
	dir := t.TempDir()
	gen := filepath.Join(dir, "gen")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", gen, "./acceptance/bench/gen")
	build.Dir = repository
	if _, err := finish(build); err != nil {
		t.Fatal(err)
	}
	type comparison struct {
		Reference string            `json:"reference"`
		Tables    map[string]string `json:"tables"` // the metadata files
	}
	asked := map[string]comparison{}
	rows := map[string]int{}
	for kind, lineBytes := range map[string]int{"sleep": 900, "wide": 550} {
		lines := bytes.Split(bytes.TrimSpace(run(t, gen, "-kind", kind, "-n", strconv.Itoa(megabytes*500_000/lineBytes), "-state", "0", "-dirty", "10")), []byte("\n"))
		catalog := filepath.Join(dir, kind+".catalog.json")
		configured := run(t, gen, "-kind", kind, "-catalog", "-mode", "append")
		if err := os.WriteFile(catalog, configured, 0o600); err != nil {
			t.Fatal(err)
		}
		var c struct {
			Streams []struct {
				Stream struct {
					Name   string
					Schema json.RawMessage `json:"json_schema"`
				}
			}
		}
		unmarshal(t, configured, &c)
		stream := c.Streams[0].Stream
		columns := columnsOf(t, stream.Schema)
		spoil(lines, columns)
		input := append(bytes.Join(lines, []byte("\n")), '\n')
		input = append(input, messages(stream.Name)...)

		compared := comparison{filepath.Join(dir, kind+".parquet"), map[string]string{}}
		writeReference(t, compared.Reference, columns, lines)
		for _, workers := range []int{1, 2, 8} {
			name := fmt.Sprintf("%s-%d", kind, workers)
			if err := os.Mkdir(filepath.Join(dir, name), 0o700); err != nil {
				t.Fatal(err)
			}
			l := newLake(t, filepath.Join(dir, name), map[string]any{"memory_mebibytes": 1024})
			cmd := exec.CommandContext(t.Context(), destination, "write", "--config", l.config, "--catalog", catalog)
			cmd.Stdin, cmd.Env = bytes.NewReader(input), append(os.Environ(), fmt.Sprintf("GOMAXPROCS=%d", workers))
			if _, err := finish(cmd); err != nil {
				t.Fatal(err)
			}
			for _, metadata := range l.metadataLocations() {
				compared.Tables[name] = metadata
			}
			rows[name] = len(lines)
		}
		asked[kind] = compared
	}

	jars, environment := sparkPrograms(t)
	for engine, out := range map[string][]byte{
		"DuckDB and PyIceberg": ask(t, python, "reference.py", asked),
		"Spark":                ask(t, filepath.Join(repository, ".cache/spark/bin/python"), "spark_reference.py", map[string]any{"jars": jars, "comparisons": asked}, environment...),
	} {
		var found map[string]map[string]struct {
			Rows   int
			Differ []any // some rows of which one side has more
		}
		unmarshal(t, out, &found)
		if len(found) == 0 {
			t.Errorf("%s compared nothing", engine)
		}
		for by, tables := range found {
			if len(tables) != len(rows) {
				t.Errorf("%s compared %d tables of %d", by, len(tables), len(rows))
			}
			for table, of := range tables {
				if of.Rows != rows[table] || len(of.Differ) > 0 {
					t.Errorf("%s, table %s: %d rows of %d; these differ:\n%v", by, table, of.Rows, rows[table], of.Differ)
				}
			}
		}
	}
}

// awkward are values of properties, by the kinds of their columns.
var awkward = map[string][]string{
	"long": {
		`1.0`, `1e3`, `"42"`, `1.5`, `9223372036854775807`, `-9223372036854775808`, `9223372036854775808`, `-0`, `true`, `{"a":[1]}`, `"x"`, `null`,
		`12345678`, `123456789012345678`, `1234567890123456789`, `"007"`, `[ 1 , 2 ]`,
	},
	"double": {
		`1e400`, `"2.5"`, `-0.0`, `5e-324`, `0.1`, `123456789012345678901234567890`, `[]`, `1e5`, `0.12345678`, `12345678.5`, `9007199254740993`, `null`, `"nan"`,
		`-123.456789012345678`, `1.7976931348623157e308`,
	},
	"string": {
		`"\ud83d\ude34\u00e9\n"`, `12`, `{"b": [1, 2]}`, `""`, `null`, `"\ud800"`, `"grün\\ \"x\" 日本"`, `true`, `1.50`,
		`"` + strings.Repeat("long ", 20) + `"`, `"exactly48bytes` + strings.Repeat("x", 34) + `"`,
	},
	"boolean": {`"true"`, `1`, `null`, `"no"`, `false`},
	"timestamptz": {
		`"2024-02-29T12:34:56.123456789Z"`, `"2024-02-29T12:00:00+05:30"`, `"2024-13-01T00:00:00Z"`, `5`, `null`, `"2023-02-29T00:00:00Z"`, `""`,
		`"0001-01-01T00:00:00Z"`, `"9999-12-31T23:59:59.999999Z"`, `"2024-02-29T24:00:00Z"`, `"1969-12-31T23:59:59.5Z"`,
		`"0000-00-00T00:00:00Z"`,
	},
	"date":   {`"2024-02-29"`, `"2023-02-29"`, `20240229`, `null`, `"0001-01-01"`, `"9999-12-31"`, `"x"`, `"0000-00-00"`},
	"struct": {`null`, `"x"`, `{}`, `[]`, `{"respiratory_rate":"3"}`},
}

// spoil gives every third record more values of some properties, of which the last one
// counts, and writes some records with white space.
func spoil(lines [][]byte, columns []column) {
	r := rand.New(rand.NewPCG(1, 2))
	for i, line := range lines {
		if r.IntN(3) == 0 {
			data := slices.Clone(line[:len(line)-len("}}}")])
			for range 1 + r.IntN(3) {
				c := columns[r.IntN(len(columns))]
				values := awkward[c.kind]
				data = fmt.Appendf(data, `,%q:%s`, c.name, values[r.IntN(len(values))])
			}
			lines[i] = append(data, "}}}"...)
		}
		if i%30 == 0 {
			lines[i] = bytes.ReplaceAll(lines[i], []byte(`,"`), []byte(`, "`))
		}
	}
}

// writeReference writes the data of records into a Parquet file.
func writeReference(t *testing.T, path string, columns []column, lines [][]byte) {
	t.Helper()
	var fields []arrow.Field
	for _, c := range columns {
		fields = append(fields, arrow.Field{Name: c.name, Type: c.arrowType(), Nullable: true})
	}
	schema := arrow.NewSchema(fields, nil)
	rows := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	for _, line := range lines {
		var message struct {
			Record struct{ Data map[string]json.RawMessage }
		}
		unmarshal(t, line, &message)
		for i, c := range columns {
			c.appendTo(rows.Field(i), message.Record.Data[c.name])
		}
	}
	f, err := os.Create(path)
	if err != nil {
		t.Fatal(err)
	}
	w, err := pqarrow.NewFileWriter(schema, f, parquet.NewWriterProperties(parquet.WithDictionaryDefault(false)), pqarrow.DefaultWriterProps())
	if err != nil {
		t.Fatal(err)
	}
	if err := w.Write(rows.NewRecordBatch()); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(); err != nil {
		t.Fatal(err)
	}
}

func (c column) arrowType() arrow.DataType {
	switch c.kind {
	case "long":
		return arrow.PrimitiveTypes.Int64
	case "double":
		return arrow.PrimitiveTypes.Float64
	case "boolean":
		return arrow.FixedWidthTypes.Boolean
	case "date":
		return arrow.FixedWidthTypes.Date32
	case "timestamptz":
		return arrow.FixedWidthTypes.Timestamp_us
	case "struct":
		var fields []arrow.Field
		for _, f := range c.of {
			fields = append(fields, arrow.Field{Name: f.name, Type: f.arrowType(), Nullable: true})
		}
		return arrow.StructOf(fields...)
	}
	return arrow.BinaryTypes.String
}

// appendTo appends a value as docs/destination.md#tables-and-types says that it is kept.
func (c column) appendTo(b array.Builder, raw json.RawMessage) {
	text := string(raw)
	var decoded any
	if len(raw) > 0 {
		_ = json.Unmarshal(raw, &decoded) // the whole line is JSON
	}
	if s, ok := decoded.(string); ok {
		text = s
	}
	number, isNumber := new(big.Rat), json.Valid([]byte(text)) && strings.ContainsAny(text[:1], "-0123456789")
	if isNumber {
		number.SetString(text)
	}
	switch b := b.(type) {
	case *array.Int64Builder:
		if isNumber && number.IsInt() && number.Num().IsInt64() {
			b.Append(number.Num().Int64())
			return
		}
	case *array.Float64Builder:
		if v, err := strconv.ParseFloat(text, 64); isNumber && err == nil {
			b.Append(v)
			return
		}
	case *array.BooleanBuilder:
		if text == "true" || text == "false" {
			b.Append(text == "true")
			return
		}
	case *array.StringBuilder:
		if decoded != nil {
			b.Append(text)
			return
		}
	case *array.Date32Builder:
		if v, err := time.Parse(time.DateOnly, text); err == nil && decoded != nil {
			b.Append(arrow.Date32FromTime(v))
			return
		}
	case *array.TimestampBuilder:
		if v, err := time.Parse(time.RFC3339, text); err == nil && decoded != nil {
			b.Append(arrow.Timestamp(v.UnixMicro()))
			return
		}
	case *array.StructBuilder:
		var values map[string]json.RawMessage
		if json.Unmarshal(raw, &values) == nil && values != nil {
			b.Append(true)
			for i, f := range c.of {
				f.appendTo(b.FieldBuilder(i), values[f.name])
			}
			return
		}
	}
	b.AppendNull()
}
