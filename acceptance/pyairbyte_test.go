//go:build acceptance

package acceptance

import (
	"bytes"
	"maps"
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
	for _, auth := range []string{"oauth2", "token_file"} {
		t.Run(auth, func(t *testing.T) {
			dir := t.TempDir()
			flags := []string{"--seed", "7"}
			if auth == "token_file" {
				flags = append(flags, "--token-file", filepath.Join(dir, "tokens.json"))
			}
			c := connect(t, newMember(t, dir, nil, flags...), newLake(t, dir, nil), protocol.AppendDedup)
			c.ids = int64(1) // PyAirbyte's, whatever the sync
			c.pyAirbyte(dir, time.Time{})
			c.wantTruth(c.previews())

			before := c.member.now()
			c.member.pass(40 * 24 * time.Hour)
			c.pyAirbyte(dir, before)
			c.wantReadings()
			if n := c.member.spentReplays(); n != 0 {
				t.Errorf("%d refresh tokens were sent twice", n)
			}
		})
	}
}

// pyAirbyte syncs by PyAirbyte, whose files lie in dir. It must read what has changed since an instant, nothing else, and
// its cache must have the keys that the oracle knows, each once.
func (c *connection) pyAirbyte(dir string, since time.Time) {
	c.t.Helper()
	records, want := 0, map[string][]string{}
	for _, s := range c.streams {
		name := s.Stream.Name
		known := slices.Collect(maps.Keys(c.member.records(name)))
		if since.IsZero() || s.SyncMode == protocol.FullRefresh {
			records += len(known)
		} else {
			changed := c.member.changes(name, since)
			records += len(changed.Upserted) + len(changed.Deleted)
			for _, key := range changed.Deleted {
				known = append(known, key+" deleted")
			}
		}
		slices.Sort(known)
		want[name] = known
	}

	program := filepath.Join(repository, ".cache/pyairbyte/bin/python")
	if _, err := os.Stat(program); err != nil {
		c.t.Fatalf("PyAirbyte is not installed (%v): run make engines", err)
	}
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		c.t.Errorf("PyAirbyte asks for %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusForbidden)
	}))
	defer outside.Close()
	cmd := exec.CommandContext(c.t.Context(), program, filepath.Join(repository, "acceptance/engines/pyairbyte_sync.py"),
		source, c.member.config, destination, c.lake.config, filepath.Join(dir, "cache.duckdb"))
	cmd.Env = append(os.Environ(), "AIRBYTE_OFFLINE_MODE=1", "DO_NOT_TRACK=1", "NO_LIVE_PROGRESS=1", "TMPDIR="+dir,
		"AIRBYTE_PROJECT_DIR="+dir, "AIRBYTE_LOGGING_ROOT="+filepath.Join(dir, "logs"),
		"HTTP_PROXY="+outside.URL, "HTTPS_PROXY="+outside.URL, "NO_PROXY=127.0.0.1")
	out, err := finish(cmd)
	if err != nil {
		c.t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(out), []byte("\n")) // the others are PyAirbyte's own
	var read struct {
		Records int
		Cache   map[string][]string
	}
	unmarshal(c.t, lines[len(lines)-1], &read)
	for _, keys := range read.Cache {
		slices.Sort(keys)
	}
	if diff := cmp.Diff(want, read.Cache); diff != "" {
		c.t.Errorf("keys in PyAirbyte's cache (-oracle +cache):\n%.3000s", diff)
	}
	if read.Records != records {
		c.t.Errorf("PyAirbyte has read %d records, want %d", read.Records, records)
	}
}
