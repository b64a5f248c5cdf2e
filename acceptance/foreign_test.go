//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// The tables hold what sources of Airbyte's emit, value by value, in each mode. ACCEPTANCE_USERS=100000 has source-faker
// make as many.
func TestSourcesOfAirbytesAreWrittenValueByValue(t *testing.T) {
	t.Parallel()
	users := 500
	if text := os.Getenv("ACCEPTANCE_USERS"); text != "" {
		var err error
		if users, err = strconv.Atoi(text); err != nil {
			t.Fatalf("ACCEPTANCE_USERS: %v", err)
		}
	}
	for _, source := range []struct {
		name   string
		config []map[string]any // of each sync
	}{
		{"source-faker", []map[string]any{
			{"count": users, "seed": 1, "parallelism": 1, "always_updated": true},
			{"count": users + 10, "seed": 2, "parallelism": 1, "always_updated": true},
		}},
		{"source-hardcoded-records", []map[string]any{{"count": 20}, {"count": 30}}},
	} {
		t.Run(source.name, func(t *testing.T) {
			f := newForeignSource(t, source.name, source.config)
			for _, mode := range []string{"append", "append_dedup", "overwrite"} {
				t.Run(mode, func(t *testing.T) { f.check(t, mode) })
			}
		})
	}
}

// A foreignSource has been read once with each configuration.
type foreignSource struct {
	streams []foreignStream
	outputs [][]byte
	undated bool // the tables are of another run, which emitted the same at another time
}

type foreignStream struct {
	raw       json.RawMessage
	namespace string
	name      string
	keyed     bool // by itself
	columns   []column
	records   [][]foreignRecord // of each output
}

type foreignRecord struct {
	data      map[string]any
	emittedAt time.Time
}

func newForeignSource(t *testing.T, name string, configs []map[string]any) *foreignSource {
	t.Helper()
	program := foreignProgram(t, name)
	f := &foreignSource{}
	catalog := filepath.Join(t.TempDir(), "catalog.json")
	for i, config := range configs {
		path := filepath.Join(t.TempDir(), "config.json")
		writeJSON(t, path, config)
		if i == 0 {
			f.addStreams(t, program, "--config", path)
			writeJSON(t, catalog, f.catalog("append"))
		}
		read := speak(t, program, "read", "--config", path, "--catalog", catalog)
		if read.Code != 0 {
			t.Fatalf("%s ended with %d: %s", name, read.Code, last(read.Stdout, 2000))
		}
		f.hear(t, read.Stdout)
		for _, stream := range f.streams {
			if len(stream.records[i]) == 0 {
				t.Fatalf("%s emits no record of stream %s", name, stream.name)
			}
		}
	}
	return f
}

// foreignProgram is a source of Airbyte's that install.sh installs.
func foreignProgram(t *testing.T, name string) string {
	t.Helper()
	program := filepath.Join(repository, ".cache/cdk/bin", name)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("%s is not installed (%v): run make engines", name, err)
	}
	return program
}

// hear adds what the source has written in one run.
func (f *foreignSource) hear(t *testing.T, output []byte) {
	t.Helper()
	f.outputs = append(f.outputs, output)
	for s := range f.streams {
		f.streams[s].records = append(f.streams[s].records, nil)
	}
	for line := range bytes.Lines(output) {
		var m struct {
			Record struct {
				Stream    string
				Data      map[string]any
				EmittedAt int64 `json:"emitted_at"`
			}
		}
		unmarshal(t, line, &m)
		for s := range f.streams {
			if stream := &f.streams[s]; stream.name == m.Record.Stream {
				run := len(stream.records) - 1
				stream.records[run] = append(stream.records[run], foreignRecord{m.Record.Data, time.UnixMilli(m.Record.EmittedAt).UTC()})
			}
		}
	}
}

// addStreams adds the streams that the source discovers.
func (f *foreignSource) addStreams(t *testing.T, program string, flags ...string) {
	t.Helper()
	for _, raw := range discover(t, program, flags...) {
		var s struct {
			Name, Namespace string
			JSONSchema      json.RawMessage `json:"json_schema"`
			PrimaryKey      [][]string      `json:"source_defined_primary_key"`
		}
		unmarshal(t, raw, &s)
		namespace := s.Namespace
		if namespace == "" {
			namespace = "whoop"
		}
		columns := columnsOf(t, s.JSONSchema)
		for i := range columns {
			columns[i].name = lowercase(columns[i].name)
		}
		f.streams = append(f.streams, foreignStream{raw: raw, namespace: namespace, name: s.Name, keyed: len(s.PrimaryKey) > 0, columns: columns})
	}
	if len(f.streams) == 0 {
		t.Fatalf("%s discovers no streams", program)
	}
}

// lowercase is the name of a column or table, as "names": "lowercase" makes it.
func lowercase(name string) string {
	return strings.Map(func(r rune) rune {
		if r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' {
			return r
		}
		return '_'
	}, strings.ToLower(name))
}

// key is the column that rows are told apart by.
func (s foreignStream) key() string {
	return s.columns[max(0, slices.IndexFunc(s.columns, func(c column) bool { return c.name == "id" }))].name
}

func (f *foreignSource) catalog(mode string) any {
	var streams []any
	for _, s := range f.streams {
		streams = append(streams, map[string]any{
			"stream": s.raw, "sync_mode": "full_refresh", "destination_sync_mode": mode, "primary_key": [][]string{{s.key()}},
		})
	}
	return map[string]any{"streams": streams}
}

// check writes each output in a mode, and compares the tables with it.
func (f *foreignSource) check(t *testing.T, mode string) {
	l := newLake(t, t.TempDir(), nil)
	catalog := filepath.Join(filepath.Dir(l.config), "catalog.json")
	writeJSON(t, catalog, f.catalog(mode))
	for _, output := range f.outputs {
		stdout, stderr, code := runDestination([]string{"write", "--config", l.config, "--catalog", catalog}, output)
		if code != 0 {
			t.Fatalf("exit code %d: %s\n%s", code, last(stdout, 4000), stderr)
		}
	}
	f.wantTables(t, l, mode, nil)
}

// wantTables checks that both engines find in the tables what the source has emitted, written in a mode with a sync id.
func (f *foreignSource) wantTables(t *testing.T, l *lake, mode string, syncID any) {
	t.Helper()
	tables, err := newReadback(t).engines(l.config)
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range f.streams {
		name := s.namespace + "." + lowercase(s.name)
		if len(s.kept(t, mode)) == 0 {
			if rows := l.preview(name); len(rows) > 0 {
				t.Errorf("table %s has rows, the source has none: %v", s.name, rows)
			}
			continue
		}
		table := tables[name]
		if table.PyIceberg == nil || table.DuckDB == nil {
			t.Fatalf("the engines do not see table %s with rows", s.name)
		}
		table.PyIceberg.mendLists(*table.DuckDB)
		if diff := cmp.Diff(table.DuckDB, table.PyIceberg); diff != "" {
			t.Errorf("table %s, DuckDB and PyIceberg:\n%.3000s", s.name, diff)
		}
		want, got := map[string]int{}, map[string]int{}
		for _, record := range s.kept(t, mode) {
			object := map[string]any{}
			for name, value := range record.data {
				object[lowercase(name)] = value
			}
			for _, c := range s.columns {
				if value := object[c.name]; c.kind == "json" && value != nil {
					object[c.name] = canonical(t, value)
				}
				text, _ := object[c.name].(string)
				if _, err := time.Parse("2006-01-02T15:04:05", text); err == nil && c.kind == "timestamptz" {
					object[c.name] = text + "Z" // faker leaves out the zone; that counts as UTC
				}
			}
			values := row(t, s.columns, object)
			if !f.undated {
				values["_airbyte_extracted_at"] = record.emittedAt
			}
			want[canonical(t, values)]++
		}
		rawIDs := map[any]bool{}
		for _, object := range table.PyIceberg.Rows {
			values := row(t, slices.Concat(s.columns, airbyteColumns), object)
			if meta := fmt.Sprint(values["_airbyte_meta"]); meta != fmt.Sprintf("map[changes:[] sync_id:%v]", syncID) {
				t.Errorf("table %s: changes %s", s.name, meta)
			}
			rawIDs[values["_airbyte_raw_id"]] = true
			for _, varies := range []string{"_airbyte_raw_id", "_airbyte_meta", "_airbyte_generation_id"} {
				delete(values, varies)
			}
			if f.undated {
				delete(values, "_airbyte_extracted_at")
			}
			got[canonical(t, values)]++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("rows of table %s (-want +got):\n%.4000s", s.name, diff)
		}
		if rows := len(table.PyIceberg.Rows); len(rawIDs) != rows || rawIDs[nil] || rawIDs[""] {
			t.Errorf("table %s has %d raw ids in %d rows", s.name, len(rawIDs), rows)
		}
	}
}

// kept are the records that a table holds after all outputs were written in a mode, or in one of PyAirbyte's strategies.
func (s foreignStream) kept(t *testing.T, mode string) []foreignRecord {
	t.Helper()
	all := slices.Concat(s.records...)
	if mode == "auto" {
		mode = map[bool]string{true: "merge", false: "replace"}[s.keyed]
	}
	switch mode {
	case "overwrite", "replace":
		all = s.records[len(s.records)-1]
	case "append_dedup", "merge":
		newest := map[string]foreignRecord{}
		for _, record := range all {
			newest[canonical(t, record.data[s.key()])] = record
		}
		all = slices.Collect(maps.Values(newest))
	}
	return all
}

func canonical(t *testing.T, value any) string {
	t.Helper()
	text, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}
