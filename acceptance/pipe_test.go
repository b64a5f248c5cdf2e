//go:build acceptance

package acceptance

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Both ways of reading the drill-down streams, and both places for the tokens: once the
// configuration, which the source replaces by a CONTROL message when it renews them, once a file.
func TestTheTablesHoldWhatTheOracleSays(t *testing.T) {
	t.Parallel()
	for drilldowns, tokenFile := range map[string]bool{"derive": false, "request": true} {
		t.Run(drilldowns, func(t *testing.T) {
			dir := t.TempDir()
			flags := []string{"--seed", "7"}
			if tokenFile {
				flags = append(flags, "--token-file", filepath.Join(dir, "tokens.json"))
			}
			m := newMember(t, dir, map[string]any{"drilldowns": drilldowns}, flags...)
			c := connect(t, m, newLake(t, dir, nil), protocol.AppendDedup)
			c.sync()
			c.wantTruth(c.previews())

			for _, d := range []time.Duration{24 * time.Hour, 40 * 24 * time.Hour} {
				before := m.now()
				m.pass(d)
				c.wantChanges(c.sync(), before)
				c.wantTruth(c.previews())
			}
			c.wantReadings()

			c.wantChanges(c.sync(), m.now()) // nothing happened
			if n := m.spentReplays(); n != 0 {
				t.Errorf("%d refresh tokens were sent twice", n)
			}
		})
	}
}

// The demo as a user runs it, in a copy of the tree.
func TestTheDemosTablesHoldWhatTheOracleSays(t *testing.T) {
	t.Parallel()
	dir := localDemo(t)
	if info, err := os.Stat(filepath.Join(dir, "lake/report.html")); err != nil || info.Size() > 1<<20 {
		t.Errorf("the page about the tables: %v (%v)", info, err)
	}

	// The demo's member once more, a day after its beginning.
	m := newMember(t, t.TempDir(), nil, "--seed", "5", "--years", "2")
	m.pass(24 * time.Hour)
	l := &lake{t: t, dir: filepath.Join(dir, "lake"), config: filepath.Join(dir, "lake/destination.json")}
	c := connect(t, m, newLake(t, t.TempDir(), nil), protocol.AppendDedup)
	c.lake = l
	c.wantTruth(c.previews())
	c.wantReadings()
}

// What another engine finds through the catalog of the demo that runs on servers.
func TestTheDemosLakehouseIsRead(t *testing.T) {
	t.Parallel()
	out := demonstrate(t, t.TempDir(), "DEMO=lakehouse")
	// The last month of two years, which the sandbox's seed decides.
	if !strings.Contains(out, "│ 2026-01 │    11 │   11.1 │     49.0 │") {
		t.Errorf("DuckDB shows another table:\n%s", last([]byte(out), 2000))
	}
}

// localDemo returns a copy of the tree in which make demo has run, once for all tests that look at its tables.
func localDemo(t *testing.T) (dir string) {
	t.Helper()
	dir = filepath.Join(binaries, "demo")
	demo.Do(func() {
		demonstrate(t, dir)
		demoRan = true
	})
	if !demoRan {
		t.Fatal("make demo has failed in another test")
	}
	return dir
}

var (
	demo    sync.Once
	demoRan bool
)

// demonstrate runs make demo in a copy of the tree, and returns what it printed.
func demonstrate(t *testing.T, dir string, variables ...string) (output string) {
	t.Helper()
	files := run(t, "git", "-C", repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
	for name := range strings.SplitSeq(strings.TrimSuffix(string(files), "\x00"), "\x00") {
		copyFile(t, filepath.Join(repository, name), filepath.Join(dir, name))
	}
	if err := os.Symlink(filepath.Join(repository, ".cache"), filepath.Join(dir, ".cache")); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "make", append([]string{"demo"}, variables...)...)
	cmd.Dir = dir
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	began := time.Now()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("make demo %q: %v\n%s", variables, err, out)
	}
	t.Logf("make demo took %v", time.Since(began))
	if err := syscall.Kill(-cmd.Process.Pid, 0); !errors.Is(err, syscall.ESRCH) {
		t.Errorf("the demo left something running (%v)", err)
	}
	return string(out)
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	info, err := os.Stat(from)
	if errors.Is(err, os.ErrNotExist) {
		return // removed, and not committed yet
	}
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(to), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(to, data, info.Mode().Perm()); err != nil {
		t.Fatal(err)
	}
}

// previews are the rows of all streams as our own verb shows them.
func (c *connection) previews() map[string][]any {
	c.t.Helper()
	rows := map[string][]any{}
	for _, s := range c.streams {
		rows[s.Stream.Name] = c.lake.preview(s.Stream.Name)
	}
	return rows
}

// wantReadings checks what both engines see: columns, types and every row.
func (c *connection) wantReadings() {
	c.t.Helper()
	readings := c.lake.read(c.keys())
	c.wantSchemas(readings)
	rows := map[string][]any{}
	for table, r := range readings {
		rows[table] = r.Rows
	}
	c.wantTruth(rows)
}

// wantTruth compares every row of every stream with the oracle, by key and by value.
func (c *connection) wantTruth(rows map[string][]any) {
	c.t.Helper()
	for _, s := range c.streams {
		name, columns := s.Stream.Name, columnsOf(c.t, s.Stream.JSONSchema)
		want := map[string]any{}
		for key, record := range c.member.records(name) {
			var object any
			unmarshal(c.t, record, &object)
			want[key] = row(c.t, columns, object)
		}
		if len(want) == 0 {
			c.t.Errorf("the oracle knows nothing of stream %s", name)
		}
		got := map[string]any{}
		ids := map[any]bool{}
		for _, r := range rows[name] {
			values := row(c.t, slices.Concat(columns, airbyteColumns), r)
			ids[values["_airbyte_raw_id"]] = true
			c.wantAirbyte(name, values)
			if name == "body_measurement" {
				c.wantInjected(values, want)
			}
			got[fmt.Sprint(values[s.key()])] = values
		}
		if len(ids) != len(rows[name]) || len(got) != len(rows[name]) {
			c.t.Errorf("stream %s: %d rows with %d keys and %d raw ids", name, len(rows[name]), len(got), len(ids))
		}
		if diff := cmp.Diff(want, got); diff != "" {
			c.t.Errorf("stream %s (-oracle +table):\n%.3000s", name, diff)
		}
	}
}

// wantAirbyte checks Airbyte's columns and takes them out of the row.
func (c *connection) wantAirbyte(stream string, values map[string]any) {
	c.t.Helper()
	want := map[string]any{"sync_id": c.ids, "changes": []any{}}
	if diff := cmp.Diff(any(want), values["_airbyte_meta"]); diff != "" {
		c.t.Errorf("stream %s: _airbyte_meta (-want +got):\n%s", stream, diff)
	}
	if values["_airbyte_raw_id"] == nil || values["_airbyte_extracted_at"] == nil || values["_airbyte_generation_id"] != c.ids {
		c.t.Errorf("stream %s: a row with %v, %v, %v", stream, values["_airbyte_raw_id"], values["_airbyte_extracted_at"], values["_airbyte_generation_id"])
	}
	for _, column := range airbyteColumns {
		delete(values, column.name)
	}
}

// wantInjected checks what the source adds to a body measurement: whose it is, and when it was seen
// by the sandbox's clock, which stands still while the source's own runs on from there.
func (c *connection) wantInjected(values map[string]any, want map[string]any) {
	c.t.Helper()
	seen, ok := values["observed_at"].(time.Time)
	now := c.member.now()
	if !ok || seen.Before(now.Add(-time.Second)) || seen.After(now.Add(10*time.Minute)) {
		c.t.Errorf("the body measurement was observed at %v, it is %v", values["observed_at"], now)
	}
	for key, w := range want {
		w := w.(map[string]any)
		w["observed_at"] = values["observed_at"]
		n := json.Number(key)
		id, err := n.Int64()
		if err != nil {
			c.t.Fatal(err)
		}
		w["user_id"] = id
	}
}

// wantChanges checks that exactly what the oracle says has changed crossed the pipe; the two
// streams without a cursor are read in full.
func (c *connection) wantChanges(s synced, since time.Time) {
	c.t.Helper()
	for _, stream := range c.streams {
		name := stream.Stream.Name
		want := map[string]int{}
		if stream.SyncMode == protocol.FullRefresh {
			for key := range c.member.records(name) {
				want[key+" upserted"]++
			}
		} else {
			changed := c.member.changes(name, since)
			for key := range changed.Upserted {
				want[key+" upserted"]++
			}
			for _, key := range changed.Deleted {
				want[key+" deleted"]++
			}
		}
		got := map[string]int{}
		for _, data := range s.read.Records(protocol.StreamID{Name: name}) {
			var record map[string]any
			unmarshal(c.t, data, &record)
			what := " upserted"
			if record["_ab_cdc_deleted_at"] != nil {
				what = " deleted"
			}
			got[fmt.Sprint(record[stream.key()])+what]++
		}
		if diff := cmp.Diff(want, got); diff != "" {
			c.t.Errorf("stream %s since %v (-changed +sent):\n%s", name, since, diff)
		}
	}
}

func (c *connection) wantSchemas(readings map[string]reading) {
	c.t.Helper()
	for _, s := range c.streams {
		var want [][2]string
		for _, column := range slices.Concat(columnsOf(c.t, s.Stream.JSONSchema), airbyteColumns) {
			want = append(want, [2]string{column.name, column.String()})
		}
		if diff := cmp.Diff(want, readings[s.Stream.Name].Schema); diff != "" {
			c.t.Errorf("schema of %s (-want +got):\n%s", s.Stream.Name, diff)
		}
	}
}
