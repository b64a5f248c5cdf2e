//go:build acceptance

package acceptance

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// A member is a sandbox process with a configuration that points the source to it.
type member struct {
	t      testing.TB
	url    string
	config string // path
}

// newMember starts a sandbox without rate limits. The fields of config are put over
// those of the configuration that it writes.
func newMember(t testing.TB, dir string, config map[string]any, flags ...string) *member {
	t.Helper()
	m := &member{t: t, config: filepath.Join(dir, "source.json")}
	args := append([]string{"sandbox", "--addr", "127.0.0.1:0", "--requests-per-minute", "-1", "--config", m.config}, flags...)
	cmd := exec.CommandContext(t.Context(), source, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) }
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // the end of the test's context interrupts it
	})
	ready, err := bufio.NewReader(stdout).ReadString('\n')
	var found bool
	if m.url, found = strings.CutPrefix(strings.TrimSpace(ready), "listening on "); !found {
		t.Fatalf("the sandbox does not listen (%v): %s%s", err, ready, stderr.Bytes())
	}
	whole := map[string]any{}
	readJSON(t, m.config, &whole)
	maps.Copy(whole, config)
	writeJSON(t, m.config, whole)
	return m
}

// records are those of a stream as the oracle knows them now, by primary key.
func (m *member) records(stream string) map[string]json.RawMessage {
	m.t.Helper()
	var records map[string]json.RawMessage
	m.get("/sandbox/oracle/"+stream, &records)
	return records
}

type changes struct {
	Upserted map[string]json.RawMessage
	Deleted  []string
}

// changes are the differences of a stream between an instant and now.
func (m *member) changes(stream string, since time.Time) changes {
	m.t.Helper()
	var c changes
	m.get("/sandbox/oracle/"+stream+"?since="+url.QueryEscape(since.Format(time.RFC3339)), &c)
	return c
}

func (m *member) now() time.Time {
	m.t.Helper()
	var clock struct{ Now time.Time }
	m.get("/sandbox/clock", &clock)
	return clock.Now
}

// pass lets time pass at the sandbox.
func (m *member) pass(d time.Duration) {
	m.t.Helper()
	run(m.t, source, "sandbox", "--addr", m.url, "--advance", d.String())
}

// spentReplays counts refresh tokens that were sent a second time.
func (m *member) spentReplays() int {
	m.t.Helper()
	var audit struct {
		SpentReplays int `json:"spent_replays"`
	}
	m.get("/sandbox/audit", &audit)
	return audit.SpentReplays
}

func (m *member) get(path string, into any) {
	m.t.Helper()
	resp, err := http.Get(m.url + path)
	if err != nil {
		m.t.Fatal(err)
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode != http.StatusOK {
		m.t.Fatalf("GET %s: %s %v: %s", path, resp.Status, err, body)
	}
	if err := json.Unmarshal(body, into); err != nil {
		m.t.Fatalf("GET %s: %v: %s", path, err, body)
	}
}

func readJSON(t testing.TB, path string, into any) {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(data, into); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
}

func writeJSON(t testing.TB, path string, value any) {
	t.Helper()
	data, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o644); err != nil {
		t.Fatal(err)
	}
}
