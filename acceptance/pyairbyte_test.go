//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// PyAirbyte reads the 11 streams into its cache, twice, and writes the cache into tables. It asks for the incremental
// mode of every stream, and hands renewed tokens to a callback and nobody else.
func TestPyAirbyteFillsTheTables(t *testing.T) {
	t.Parallel()
	for _, auth := range []string{"oauth2", "token_file"} {
		t.Run(auth, func(t *testing.T) {
			dir := t.TempDir()
			flags := []string{"--seed", "7"}
			if auth == "token_file" {
				flags = append(flags, "--token-file", filepath.Join(dir, "tokens.json"))
			}
			c := connect(t, newMember(t, dir, nil, flags...), newLake(t, dir, nil), protocol.AppendDedup)
			c.ids = int64(1) // PyAirbyte's, whatever the sync
			job := pyAirbyteJob{
				Source: localSource(), SourceConfig: c.member.config, Cache: filepath.Join(dir, "cache.duckdb"),
				Destination: localDestination(), Writes: []pyAirbyteWrite{{Config: c.lake.config, Strategy: "auto"}},
			}
			c.wantPulled(job.run(t, dir), time.Time{})
			c.wantTruth(c.previews())

			before := c.member.now()
			c.member.pass(40 * 24 * time.Hour)
			c.wantPulled(job.run(t, dir), before)
			c.wantReadings()
			if n := c.member.spentReplays(); n != 0 {
				t.Errorf("%d refresh tokens were sent twice", n)
			}
		})
	}
}

// What PyAirbyte has in its cache arrives in each of its strategies, written twice.
func TestPyAirbyteWritesItsCacheInEachStrategy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	m := newMember(t, dir, nil, "--seed", "5")
	job := pyAirbyteJob{
		Source: localSource(), SourceConfig: m.config, Streams: []string{"profile", "body_measurement", "sleep", "workout"}, Samples: 1,
		Cache: filepath.Join(dir, "cache.duckdb"), Destination: localDestination(),
	}
	lakes := map[string]*lake{}
	for _, strategy := range []string{"append", "merge", "replace", "auto"} {
		if err := os.Mkdir(filepath.Join(dir, strategy), 0o755); err != nil {
			t.Fatal(err)
		}
		lakes[strategy] = newLake(t, filepath.Join(dir, strategy), nil)
		write := pyAirbyteWrite{Config: lakes[strategy].config, Strategy: strategy}
		job.Writes = append(job.Writes, write, write)
	}
	pulled := job.run(t, dir)
	for _, raw := range discover(t, source, "--config", m.config) {
		var s struct {
			Name       string
			JSONSchema json.RawMessage `json:"json_schema"`
		}
		if unmarshal(t, raw, &s); !slices.Contains(job.Streams, s.Name) {
			continue
		}
		if n := pulled.Samples[s.Name]; n != 1 {
			t.Errorf("PyAirbyte has a sample of %d records of stream %s", n, s.Name)
		}
		columns := columnsOf(t, s.JSONSchema)
		for strategy, l := range lakes {
			want, got := map[string]int{}, map[string]int{}
			for _, object := range pulled.Cache[s.Name] {
				want[canonical(t, row(t, columns, object))] += map[bool]int{false: 1, true: 2}[strategy == "append"]
			}
			for _, object := range l.preview(s.Name) {
				values := row(t, slices.Concat(columns, airbyteColumns), object)
				for _, c := range airbyteColumns {
					delete(values, c.name)
				}
				got[canonical(t, values)]++
			}
			if diff := cmp.Diff(want, got); diff != "" || len(want) == 0 {
				t.Errorf("stream %s, strategy %s (-cache +table):\n%.3000s", s.Name, strategy, diff)
			}
		}
	}
}

// A pyAirbyteJob is one of pyairbyte_sync.py, which explains the fields.
type pyAirbyteJob struct {
	Source       map[string]any   `json:"source"`
	SourceConfig string           `json:"source_config"`
	Streams      []string         `json:"streams"`
	Samples      int              `json:"samples"`
	Cache        string           `json:"cache,omitempty"`
	Destination  map[string]any   `json:"destination"`
	Writes       []pyAirbyteWrite `json:"writes"`
}

type pyAirbyteWrite struct {
	SourceConfig string `json:"source_config,omitempty"`
	Config       string `json:"config"`
	Strategy     string `json:"strategy"`
}

// pulled is what PyAirbyte has read.
type pulled struct {
	Samples map[string]int
	Records int
	Cache   map[string][]map[string]any
	Ignored []string
}

func localSource() map[string]any {
	return map[string]any{"name": "source-whoop", "local_executable": source}
}

func localDestination() map[string]any {
	return map[string]any{"name": "destination-iceberg", "local_executable": destination}
}

// run runs the job by PyAirbyte, whose files lie in dir.
func (j pyAirbyteJob) run(t *testing.T, dir string) pulled {
	t.Helper()
	text, err := json.Marshal(j)
	if err != nil {
		t.Fatal(err)
	}
	out, err := finish(pyAirbyte(t, dir, "python", filepath.Join(repository, "acceptance/engines/pyairbyte_sync.py"), string(text)))
	if err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n")) // the others are PyAirbyte's own
	var p pulled
	unmarshal(t, lines[len(lines)-1], &p)
	if len(p.Ignored) > 0 {
		t.Errorf("errors that PyAirbyte could not raise: %q", p.Ignored)
	}
	return p
}

// pyAirbyte is a program of PyAirbyte's environment, whose files lie in dir and which speaks to nobody outside.
func pyAirbyte(t *testing.T, dir, program string, args ...string) *exec.Cmd {
	t.Helper()
	program = filepath.Join(repository, ".cache/pyairbyte/bin", program)
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("PyAirbyte is not installed (%v): run make engines", err)
	}
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("PyAirbyte asks for %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusForbidden)
	}))
	t.Cleanup(outside.Close)
	cmd := exec.CommandContext(t.Context(), program, args...)
	cmd.Env = append(os.Environ(), "AIRBYTE_OFFLINE_MODE=1", "DO_NOT_TRACK=1", "NO_LIVE_PROGRESS=1", "TMPDIR="+dir,
		"PATH="+filepath.Dir(program)+":"+os.Getenv("PATH"), // where it looks for its own source
		"AIRBYTE_PROJECT_DIR="+dir, "AIRBYTE_LOGGING_ROOT="+filepath.Join(dir, "logs"),
		"HTTP_PROXY="+outside.URL, "HTTPS_PROXY="+outside.URL, "NO_PROXY=127.0.0.1")
	return cmd
}

// wantPulled checks that PyAirbyte has read what has changed since an instant, nothing else, and that its cache has what the
// oracle knows, value by value.
func (c *connection) wantPulled(p pulled, since time.Time) {
	c.t.Helper()
	records := 0
	for _, s := range c.streams {
		name, columns := s.Stream.Name, columnsOf(c.t, s.Stream.JSONSchema)
		known, deleted := c.member.records(name), []string{}
		if since.IsZero() || s.SyncMode == protocol.FullRefresh {
			records += len(known)
		} else {
			changed := c.member.changes(name, since)
			records += len(changed.Upserted) + len(changed.Deleted)
			deleted = append(deleted, changed.Deleted...)
		}
		want, got := map[string]any{}, map[string]any{}
		for key, record := range known {
			var object any
			unmarshal(c.t, record, &object)
			want[key] = row(c.t, columns, object)
		}
		gone := []string{}
		for _, object := range p.Cache[name] {
			values := row(c.t, columns, object)
			key := fmt.Sprint(values[s.key()])
			if values["_ab_cdc_deleted_at"] != nil {
				gone = append(gone, key)
				continue
			}
			if name == "body_measurement" {
				c.wantInjected(values, want)
			}
			if got[key] != nil {
				c.t.Errorf("PyAirbyte's cache has %s of stream %s twice", key, name)
			}
			got[key] = values
		}
		slices.Sort(deleted)
		slices.Sort(gone)
		if diff := cmp.Diff(want, got) + cmp.Diff(deleted, gone); diff != "" {
			c.t.Errorf("stream %s, and what was deleted of it (-oracle +PyAirbyte's cache):\n%.3000s", name, diff)
		}
	}
	if p.Records != records {
		c.t.Errorf("PyAirbyte has read %d records, want %d", p.Records, records)
	}
	if len(p.Cache) != len(c.streams) {
		c.t.Errorf("PyAirbyte's cache has %d streams, want %d", len(p.Cache), len(c.streams))
	}
}
