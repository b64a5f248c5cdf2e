//go:build acceptance

package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A lake is a warehouse on this machine.
type lake struct {
	t      testing.TB
	dir    string
	config string // path of the destination's configuration
	launch launch // of our own verbs that look at it

	largest int64 // that a file may get when the destination writes it; 0: no limit
}

// A launch says how a program is run otherwise than as itself; nil: as itself.
type launch func(program string, args []string) (string, []string)

func (l launch) command(ctx context.Context, program string, args ...string) *exec.Cmd {
	if l != nil {
		program, args = l(program, args)
	}
	return exec.CommandContext(ctx, program, args...)
}

// newLake makes a configuration for the warehouse dir/lake; options are put over the defaults.
func newLake(t testing.TB, dir string, options map[string]any) *lake {
	t.Helper()
	l := &lake{t: t, dir: filepath.Join(dir, "lake"), config: filepath.Join(dir, "destination.json")}
	config := map[string]any{"warehouse": "file://" + l.dir, "namespace": "whoop"}
	for key, value := range options {
		config[key] = value
	}
	writeJSON(t, l.config, config)
	return l
}

// state writes what `destination state` prints into a file and returns both.
func (l *lake) state(catalog string) (path string, states []json.RawMessage) {
	l.t.Helper()
	out := l.run("state", "--config", l.config, "--catalog", catalog)
	unmarshal(l.t, out, &states)
	path = filepath.Join(filepath.Dir(l.config), "state.json")
	writeJSON(l.t, path, states)
	return path, states
}

func (l *lake) run(args ...string) []byte {
	l.t.Helper()
	out, err := finish(l.launch.command(l.t.Context(), destination, args...))
	if err != nil {
		l.t.Fatal(err)
	}
	return out
}

// preview reads all rows of a table by our own verb.
func (l *lake) preview(table string) []any {
	l.t.Helper()
	var rows []any
	for line := range bytes.Lines(l.run("preview", "--config", l.config, "--limit", "0", "--json", table)) {
		var row any
		unmarshal(l.t, line, &row)
		rows = append(rows, row)
	}
	return rows
}

// A reading is a table as an engine sees it.
type reading struct {
	MetadataLocation string `json:"metadata_location"`
	Schema           [][2]string
	Rows             []any
	Files            map[string]int
}

// read reads tables by both engines, each with the columns to sort by. The engines must agree, and no
// table may have an equality delete.
func (l *lake) read(keys map[string]string) map[string]reading {
	l.t.Helper()
	readings := map[string]reading{}
	var lock sync.Mutex
	group, ctx := errgroup.WithContext(l.t.Context())
	group.SetLimit(runtime.NumCPU())
	for table, key := range keys {
		group.Go(func() error {
			r, err := l.readTable(ctx, table, key)
			if err != nil {
				return fmt.Errorf("table %s: %w", table, err)
			}
			lock.Lock()
			defer lock.Unlock()
			readings[table] = r
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		l.t.Fatal(err)
	}
	return readings
}

func (l *lake) readTable(ctx context.Context, table, key string) (reading, error) {
	var r, other reading
	text, err := script(ctx, "pyiceberg_read.py", filepath.Join(l.dir, "catalog.db"), "file://"+l.dir, "whoop."+table, "--key", key)
	if err != nil {
		return r, err
	}
	if err := r.decode(text); err != nil {
		return r, err
	}
	text, err = script(ctx, "duckdb_read.py", r.MetadataLocation, "--key", key)
	if err != nil {
		return r, err
	}
	if err := other.decode(text); err != nil {
		return r, err
	}
	r.mendLists(other)
	if diff := cmp.Diff(r, other); diff != "" {
		return r, fmt.Errorf("it is not the same to both engines (-PyIceberg +DuckDB):\n%.3000s", diff)
	}
	if n := r.Files["equality_deletes"]; n != 0 {
		return r, fmt.Errorf("it has %d equality deletes", n)
	}
	return r, nil
}

func (r *reading) decode(text []byte) error {
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	return dec.Decode(r)
}

// mendLists takes from another engine's reading the nulls that PyIceberg shows as empty lists: it
// rebuilds lists of structs without their nulls, to evade https://github.com/apache/arrow/issues/38809.
func (r *reading) mendLists(other reading) {
	for i := range min(len(r.Rows), len(other.Rows)) {
		mine, theirs := r.Rows[i].(map[string]any), other.Rows[i].(map[string]any)
		for _, column := range r.Schema {
			name, kind := column[0], column[1]
			list, ok := mine[name].([]any)
			if ok && len(list) == 0 && theirs[name] == nil && strings.HasPrefix(kind, "list<struct<") {
				mine[name] = nil
			}
		}
	}
}

// script runs one of the scripts in engines/.
func script(ctx context.Context, name string, args ...string) ([]byte, error) {
	return output(ctx, python, append([]string{filepath.Join(repository, "acceptance/engines", name)}, args...)...)
}

// configure writes a configured catalog of one append_dedup stream and returns its path.
func (l *lake) configure(name, schema string, cursor []string, key ...string) string {
	l.t.Helper()
	stream := map[string]any{
		"name": name, "json_schema": json.RawMessage(schema),
		"supported_sync_modes": []string{"full_refresh", "incremental"},
	}
	configured := map[string]any{"stream": stream, "sync_mode": "incremental", "destination_sync_mode": protocol.AppendDedup, "cursor_field": cursor}
	var paths [][]string
	for _, k := range key {
		paths = append(paths, []string{k})
	}
	configured["primary_key"] = paths
	path := filepath.Join(filepath.Dir(l.config), name+".catalog.json")
	writeJSON(l.t, path, map[string]any{"streams": []any{configured}})
	return path
}

// write runs `destination write` over a whole input, which must succeed.
func (l *lake) write(catalog string, input []byte) {
	l.t.Helper()
	args := []string{"write", "--config", l.config, "--catalog", catalog}
	cmd := exec.CommandContext(l.t.Context(), destination, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(input), &stdout, &stderr
	r := &protocoltest.Run{Args: args, Input: input}
	if err := cmd.Start(); err != nil {
		l.t.Fatal(err)
	}
	r.Code = wait(l.t, cmd)
	r.Stdout, r.Stderr = stdout.Bytes(), stderr.Bytes()
	if r.Check(l.t); r.Code != 0 {
		l.t.Fatalf("destination write: exit code %d\n%s\n%s", r.Code, last(r.Stdout, 4000), last(r.Stderr, 4000))
	}
}

// messages makes an input out of the records of one stream: a STATE at the end, then COMPLETE.
func messages(stream string, records ...string) []byte {
	var b bytes.Buffer
	for _, r := range records {
		fmt.Fprintf(&b, `{"type":"RECORD","record":{"stream":%q,"emitted_at":1767225600123,"data":%s}}`+"\n", stream, r)
	}
	fmt.Fprintf(&b, `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":%q},"stream_state":{"n":%d}}}}`+"\n", stream, len(records))
	b.WriteString(status(stream, protocol.Complete))
	return b.Bytes()
}

func status(stream string, s protocol.StreamStatus) string {
	return fmt.Sprintf(`{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1767225600123.0,"stream_status":{"stream_descriptor":{"name":%q},"status":%q}}}`+"\n", stream, s)
}
