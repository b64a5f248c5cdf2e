//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Both programs of a pipe are told to stop, as by Ctrl-C, and the input ends up to 50 ms before or after the
// signal. Whoever was quicker: nothing is swapped in without proof, no row is visible that no state covers, and
// the run does not succeed unless every stream was COMPLETE before it ended.
func TestSignalsAtTheEndOfTheInput(t *testing.T) {
	runs, random := kills(t, 1)
	modes := []string{"append", "append_dedup", "overwrite", "refresh"}
	completions := []string{"strict", "state_hint", "eof"}
	swaps, stops := 0, 0
	for n := range runs {
		mode, completion := modes[n%len(modes)], completions[n/len(modes)%len(completions)]
		complete, uncovered := random.IntN(4) == 0, random.IntN(2) == 0
		signal := []syscall.Signal{syscall.SIGINT, syscall.SIGTERM}[random.IntN(2)]
		offset := time.Duration(random.Int64N(int64(100*time.Millisecond))) - 50*time.Millisecond
		what := fmt.Sprintf("%d: %s, %s, COMPLETE %t, rows after the last state %t, %v %v after the end", n, mode, completion, complete, uncovered, signal, offset)

		l := newLake(t, t.TempDir(), map[string]any{"completion": completion})
		catalog := l.configureSignalled(mode, 1)
		l.write(catalog, []byte(numbered(0, 100)+itemState(1)+status("items", protocol.Complete)))
		catalog = l.configureSignalled(mode, 2)
		input := numbered(100, 200) + itemState(2)
		if uncovered {
			input += numbered(200, 210)
		}
		if complete {
			input += status("items", protocol.Complete)
		}
		cmd := exec.CommandContext(t.Context(), destination, "write", "--config", l.config, "--catalog", catalog)
		var stdout, stderr bytes.Buffer
		cmd.Stdout, cmd.Stderr = &stdout, &stderr
		in, err := cmd.StdinPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if _, err := in.Write([]byte(input)); err != nil {
			t.Fatal(err)
		}
		time.Sleep(300 * time.Millisecond) // it reads, and catches signals
		end := func() { in.Close() }
		stop := func() { _ = cmd.Process.Signal(signal) } // it may have ended
		if offset < 0 {
			end, stop = stop, end
		}
		end()
		time.Sleep(offset.Abs())
		stop()
		succeeded := cmd.Wait() == nil

		ids := map[string]bool{}
		for _, row := range l.preview("items") {
			ids[fmt.Sprint(row.(map[string]any)["id"])] = true
		}
		older, newer, after := count(ids, 0, 100), count(ids, 100, 200), count(ids, 200, 210)
		replaces := mode == "overwrite" || mode == "refresh"
		echoed := strings.Contains(stdout.String(), `"destinationStats"`)
		switch {
		case succeeded && !complete:
			t.Errorf("%s: the run succeeded", what)
		case !complete && after > 0:
			t.Errorf("%s: %d rows are visible that no state covers", what, after)
		case replaces && !complete && (older != 100 || newer+after > 0):
			t.Errorf("%s: swapped in without proof: %d old rows, %d new", what, older, newer+after)
		case !replaces && older != 100, older != 0 && older != 100, newer != 0 && newer != 100:
			t.Errorf("%s: %d of 100 old rows, %d of 100 new", what, older, newer)
		case echoed && mode != "refresh" && newer != 100:
			t.Errorf("%s: a state came back and its rows are not visible", what)
		case succeeded && (newer != 100 || uncovered && after != 10 || replaces && older > 0):
			t.Errorf("%s: the run succeeded with %d new rows, %d after them, %d old", what, newer, after, older)
		}
		if t.Failed() {
			t.Fatalf("stdout\n%s\nstderr\n%s", &stdout, &stderr)
		}
		if replaces && older == 0 {
			swaps++
		}
		if !succeeded {
			stops++
		}
	}
	t.Logf("%d runs, %d stopped, %d swapped in with proof", runs, stops, swaps)
}

func (l *lake) configureSignalled(mode string, generation int) string {
	l.t.Helper()
	sync, ids := mode, ""
	if mode == "refresh" {
		sync, ids = "append", fmt.Sprintf(`,"generation_id":%d,"minimum_generation_id":%[1]d,"sync_id":%[1]d`, generation)
	}
	path := filepath.Join(filepath.Dir(l.config), "catalog.json")
	writeJSON(l.t, path, json.RawMessage(fmt.Sprintf(`{"streams":[{"stream":{"name":"items","json_schema":{"properties":{"id":{"type":"integer"}}}},
		"sync_mode":"incremental","destination_sync_mode":%q,"primary_key":[["id"]]%s}]}`, sync, ids)))
	return path
}

// numbered are records of the stream items, from one id to another.
func numbered(from, to int) string {
	var b strings.Builder
	for id := from; id < to; id++ {
		fmt.Fprintf(&b, `{"type":"RECORD","record":{"stream":"items","emitted_at":1767225600123,"data":{"id":%d}}}`+"\n", id)
	}
	return b.String()
}

func itemState(n int) string {
	return fmt.Sprintf(`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"items"},"stream_state":{"n":%d}}}}`+"\n", n)
}

func count(ids map[string]bool, from, to int) (n int) {
	for id := from; id < to; id++ {
		if ids[fmt.Sprint(id)] {
			n++
		}
	}
	return n
}
