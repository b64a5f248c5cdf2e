package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var (
	histories = flag.Int("histories", testsize.Of(0, 60), "how many random histories of a stream TestHistories makes, beside those that were once wrong")
	lakes     = flag.String("lakes", "", "directory in which TestHistories leaves their tables, for other engines to read")
)

// TestHistories makes up to 12 syncs of one stream whose properties, keys, modes and options change from one to
// the next, while another program changes the table's columns. After each, a reader must see what a plain model says.
func TestHistories(t *testing.T) {
	seeds := []uint64{77, 103, 123, 4638} // once wrong: another program dropped all fields of an object
	for seed := range uint64(*histories) {
		if !slices.Contains(seeds, seed) {
			seeds = append(seeds, seed)
		}
	}
	// One history after another on each core: of subtests that are all parallel,
	// thousands would wait as goroutines, which the collector looks at each time.
	next := make(chan uint64, len(seeds))
	for _, seed := range seeds {
		next <- seed
	}
	close(next)
	for core := range runtime.GOMAXPROCS(0) {
		t.Run(fmt.Sprint("core ", core), func(t *testing.T) {
			t.Parallel()
			for seed := range next {
				t.Run(fmt.Sprint(seed), func(t *testing.T) { evolveFrom(t, seed) })
			}
		})
	}
}

func evolveFrom(t *testing.T, seed uint64) {
	choices := make([]byte, 2000)
	for i, rnd := 0, rand.New(rand.NewPCG(seed, 0)); i < len(choices); i++ {
		choices[i] = byte(rnd.Uint32())
	}
	dir := t.TempDir()
	if *lakes != "" {
		dir = filepath.Join(*lakes, fmt.Sprint(seed))
		if err := os.MkdirAll(dir, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	e := evolve(t, dir, choices)
	if err := os.WriteFile(filepath.Join(dir, "history.txt"), []byte(strings.Join(e.events, "\n")), 0o600); err != nil {
		t.Fatal(err)
	}
}

func FuzzEvolution(f *testing.F) {
	f.Add([]byte("a stream of records"))
	f.Fuzz(func(t *testing.T, choices []byte) {
		dir, err := os.MkdirTemp("", "evolution-") //nolint:usetesting // its directory has the "#" of a fuzz test's seed in its name, which no warehouse may
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			if err := os.RemoveAll(dir); err != nil {
				t.Error(err)
			}
		})
		evolve(t, dir, choices)
	})
}

// An evolution is a history of a stream and its table, and what is known of them.
type evolution struct {
	t       *testing.T
	choices choices
	dir     string
	events  []string // what happened, for people
	token   int      // the last one
	model   model
}

func evolve(t *testing.T, dir string, choices []byte) *evolution {
	e := &evolution{t: t, choices: choices, dir: dir, token: 1000}
	e.model = newModel()
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("the history:\n%s", strings.Join(e.events, "\n"))
		}
	})
	for range 1 + e.choices.of(12) {
		e.sync()
		if t.Failed() {
			break
		}
		for range e.choices.of(3) {
			e.another()
		}
	}
	return e
}

// sync makes a sync, and compares what a reader sees.
func (e *evolution) sync() {
	e.t.Helper()
	c := &e.choices
	s := &evolutionSync{properties: []property{
		{name: "id", kind: pick(c, "integer", "integer", "integer", "integer", "integer", "number", "text")},
		{name: "code", kind: "text"},
		{name: "seq", kind: "integer"},
	}}
	s.mode = pick(c, protocol.AppendDedup, protocol.Append, protocol.AppendDedup, protocol.Append, protocol.Overwrite)
	s.key = pick(c, []string{"id"}, []string{"id"}, []string{"code"}, []string{"id", "code"})
	s.cursor = pick(c, "seq", "")
	if s.properties = append(s.properties, e.properties(0)...); c.of(2) == 1 {
		slices.Reverse(s.properties)
	}
	stream := map[string]any{
		"stream":    map[string]any{"name": "s", "json_schema": objectSchema(s.properties)},
		"sync_mode": "incremental", "destination_sync_mode": s.mode,
	}
	if s.mode == protocol.AppendDedup {
		var paths [][]string
		for _, k := range s.key {
			paths = append(paths, []string{k})
		}
		stream["primary_key"] = paths
		if s.cursor != "" {
			stream["cursor_field"] = []string{s.cursor}
		}
	}
	if s.mode == protocol.Overwrite {
		stream["sync_mode"] = "full_refresh"
	}
	config := e.file("config.json", map[string]any{
		"warehouse": "file://" + e.dir, "names": pick(c, "lowercase", "preserve"), "nested": pick(c, "struct", "struct", "json"),
		"numbers": pick(c, "double", "decimal"), "upsert": pick(c, "auto", "copy_on_write", "merge_on_read"),
	})
	catalog := e.file("catalog.json", map[string]any{"streams": []any{stream}})
	var input bytes.Buffer
	for range 1 + c.of(4) {
		e.token++
		r := &record{at: int64(1767225600000 + e.token), data: map[string]any{}, sent: map[int]*sent{}}
		for _, p := range s.properties {
			if len(s.records) == 0 || slices.Contains([]string{"id", "code", "seq"}, p.name) || c.of(4) > 0 {
				r.data[p.name] = e.value(p, nil, r)
			}
		}
		s.records = append(s.records, r)
	}
	if c.of(2) == 1 { // cursors fall
		slices.Reverse(s.records)
	}
	for _, r := range s.records {
		line := jsonOf(map[string]any{"type": "RECORD", "record": map[string]any{"stream": "s", "emitted_at": r.at, "data": r.data}})
		e.events = append(e.events, "    "+jsonOf(r.data))
		input.WriteString(line + "\n")
	}
	input.WriteString(`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"n":1}}}}` + "\n" +
		`{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1767225600000,"stream_status":{"stream_descriptor":{"name":"s"},"status":"COMPLETE"}}}` + "\n")
	at := len(e.events) - len(s.records)
	e.events = slices.Insert(e.events, at, fmt.Sprintf("sync with %s\n  %s", jsonOf(json.RawMessage(e.read(config))), e.read(catalog)))

	var before string
	if tbl := e.table(); tbl != nil {
		before = tbl.MetadataLocation()
		if err := e.model.learn(tbl.Schema()); err != nil {
			e.t.Fatal(err)
		}
	}
	due := e.model.refuses(s)
	var stdout, stderr bytes.Buffer
	code := run(e.t.Context(), cli.Env{Args: []string{"write", "--config", config, "--catalog", catalog}, Stdin: &input, Stdout: &stdout, Stderr: &stderr})
	tbl := e.table()
	switch refused := code != 0 && strings.Contains(stdout.String(), `"failure_type":"config_error"`); {
	case code != 0 && !refused:
		e.t.Fatalf("exit code %d\n%s%s", code, stdout.Bytes(), stderr.Bytes())
	case refused && due == never:
		e.t.Fatalf("a config_error that is not due\n%s", stdout.Bytes())
	case !refused && due == always:
		e.t.Fatal("no config_error")
	case refused && tbl != nil && tbl.MetadataLocation() != before:
		e.t.Fatal("the table changed although the sync was a config_error")
	case refused:
		e.events = append(e.events, "  refused")
		return
	}
	if tbl == nil {
		e.t.Fatal("there is no table")
	}
	seen, err := e.reader(tbl)
	if err == nil {
		err = e.model.compare(s, tbl.Schema(), seen)
	}
	if err != nil {
		e.t.Fatalf("%v\nof the table\n%v", err, tbl.Schema())
	}
}

// another lets another program change a column of the table.
func (e *evolution) another() {
	tbl := e.table()
	if tbl == nil {
		return
	}
	c := &e.choices
	path, level := []string{}, []iceberg.NestedField(nil)
	fields := slices.DeleteFunc(slices.Clone(tbl.Schema().Fields()), func(f iceberg.NestedField) bool { return strings.HasPrefix(f.Name, "_airbyte_") })
	for len(fields) > 0 {
		f := fields[c.of(len(fields))]
		path, level = append(path, f.Name), fields
		s, ok := f.Type.(*iceberg.StructType)
		if !ok || c.of(2) == 0 {
			break
		}
		fields = s.FieldList
	}
	if len(path) == 0 {
		return
	}
	tx := tbl.NewTransaction()
	update := tx.UpdateSchema(false, true)
	name := pick(c, "a", "b", "a_json", "First_Name", "x y", "O")
	act := pick(c, "rename", "drop", "add", "describe")
	taken := slices.ContainsFunc(level, func(f iceberg.NestedField) bool { return strings.EqualFold(f.Name, name) })
	if taken && (act == "rename" || act == "add") { // by this program's own rule
		return
	}
	if err := e.model.learn(tbl.Schema()); err != nil {
		e.t.Fatal(err)
	}
	if act == "drop" && len(path) > 1 && len(level) == 1 && *lakes != "" { // PyIceberg and DuckDB cannot read an object without fields
		return
	}
	if e.model.emptied && act == "add" { // the library would give a field id twice
		return
	}
	switch act {
	case "rename":
		update.RenameColumn(path, name)
	case "drop":
		update.DeleteColumn(path)
	case "add":
		update.AddColumn(append(path[:len(path)-1:len(path)-1], name), pick[iceberg.Type](c, iceberg.PrimitiveTypes.String, iceberg.PrimitiveTypes.Int64), "", false, nil)
	case "describe":
		update.UpdateColumn(path, table.ColumnUpdate{Doc: iceberg.Optional[string]{Valid: true, Val: "a: " + name}})
	}
	if update.Commit() != nil { // the library does not do it
		return
	}
	if _, err := tx.Commit(e.t.Context()); err != nil {
		e.t.Fatal(err)
	}
	e.events = append(e.events, fmt.Sprintf("another program: %s %q %q", act, path, name))
}

// table loads the table, which is nil before there is one.
func (e *evolution) table() *table.Table {
	e.t.Helper()
	config, err := parseConfig(fmt.Appendf(nil, `{"warehouse":"file://%s"}`, e.dir))
	if err != nil {
		e.t.Fatal(err)
	}
	cat, err := config.openExisting(e.t.Context())
	if err != nil {
		return nil
	}
	e.t.Cleanup(func() { cat.Close() })
	tbl, err := cat.LoadTable(e.t.Context(), table.Identifier{"airbyte", "s"})
	if err != nil {
		return nil
	}
	return tbl
}

func (e *evolution) reader(tbl *table.Table) (rows []inspect.Row, err error) {
	for row, err := range inspect.Rows(e.t.Context(), tbl, 0) {
		if err != nil {
			return nil, err
		}
		rows = append(rows, row)
	}
	return rows, nil
}

func (e *evolution) file(name string, content any) string {
	e.t.Helper()
	path := filepath.Join(e.dir, name)
	if err := os.WriteFile(path, []byte(jsonOf(content)), 0o600); err != nil {
		e.t.Fatal(err)
	}
	return path
}

func (e *evolution) read(path string) []byte {
	e.t.Helper()
	content, err := os.ReadFile(path)
	if err != nil {
		e.t.Fatal(err)
	}
	return content
}

func jsonOf(value any) string {
	text, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return string(text)
}
