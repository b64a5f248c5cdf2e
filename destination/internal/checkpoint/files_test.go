package checkpoint

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var long = json.RawMessage(`{"type":"LEGACY","data":{"n":12345678901234567890,"text":"` + strings.Repeat("<é", 1000) + `"}}`)

func newFiles(t *testing.T) *Files {
	t.Helper()
	files, err := storage.Open(t.Context(), storage.Default(), "file://"+t.TempDir(), "")
	if err != nil {
		t.Fatal(err)
	}
	return NewFiles(files)
}

// A short state stays where it is, a long one comes back from its file as it was.
func TestAStateIsKept(t *testing.T) {
	files := newFiles(t)
	for name, state := range map[string]json.RawMessage{"short": json.RawMessage(`{"data":{"n":1}}`), "long": long} {
		t.Run(name, func(t *testing.T) {
			want := Checkpoint{Number: 7, Committed: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), State: state}
			kept, err := files.Keep(want, nil)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := kept.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if len(raw) > 2*longState {
				t.Errorf("a table keeps %d bytes", len(raw))
			}
			got, err := Parse(raw)
			if err != nil {
				t.Fatal(err)
			}
			if (got.File != "") != (name == "long") {
				t.Errorf("the file is %q", got.File)
			}
			if got.File != "" {
				if got, err = got.Load(files.files); err != nil {
					t.Fatal(err)
				}
			}
			got.File = ""
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("checkpoint (-want +got):\n%s", diff)
			}
		})
	}
}

// A state of a thousand streams, of which a table's metadata would have a copy for each snapshot, takes its names to its
// file, however short it is.
func TestTheNamesOfManyStreamsAreKeptInTheFile(t *testing.T) {
	files := newFiles(t)
	for _, n := range []int{0, 20, 1000} {
		want := Checkpoint{Number: 7, State: json.RawMessage(`{"data":{"n":1}}`), Lacks: []Numbers{{2, 3}}, Streams: Streams{}}
		for i := range n {
			want.Streams.Set(protocol.StreamID{Namespace: "public", Name: fmt.Sprintf("orders of the year %d", i)}, int64(i))
		}
		kept, err := files.Keep(want, []string{"metadata"})
		if err != nil {
			t.Fatal(err)
		}
		raw, err := kept.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if len(raw) > 2*longState || (kept.File != "") != (n == 1000) {
			t.Errorf("%d streams: a table keeps %d bytes, the file is %q", n, len(raw), kept.File)
		}
		got, err := Parse(raw)
		if err == nil {
			got, err = got.Load(files.files)
		}
		if got.File = ""; err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%d streams (-want +got):\n%s", n, diff)
		}
	}
	// Versions that named no streams tell themselves apart from a state of no streams.
	if old, err := Parse(json.RawMessage(`{"number":7,"state":{"data":{}}}`)); err != nil || old.Streams != nil {
		t.Errorf("%v, %v", old, err)
	}
}

// A table whose source went back to state 3, after others were stored, does not have the rows of those.
func TestWhichStatesATableHasTheRowsOf(t *testing.T) {
	for _, tt := range []struct {
		name      string
		c         Checkpoint
		has, lack []int64
	}{
		{"the first", Checkpoint{Number: 1}, []int64{0, 1}, []int64{2}},
		{"one after the other", Checkpoint{Number: 4, Lacks: Checkpoint{Number: 3}.LacksOfNext(4)}, []int64{1, 3, 4}, []int64{5}},
		{"the source went back", Checkpoint{Number: 7, Lacks: Checkpoint{Number: 3}.LacksOfNext(6)}, []int64{1, 3, 6, 7}, []int64{4, 5, 8}},
		{"to the beginning", Checkpoint{Number: 7, Lacks: Checkpoint{Number: -1}.LacksOfNext(6)}, []int64{6, 7}, []int64{0, 1, 5, 8}},
		{"twice", Checkpoint{Number: 9, Lacks: Checkpoint{Number: 7, Lacks: []Numbers{{4, 5}}}.LacksOfNext(9)}, []int64{3, 6, 7, 9}, []int64{4, 5, 8}},
	} {
		for _, n := range tt.has {
			if !tt.c.Has(n) {
				t.Errorf("%s: it lacks %d", tt.name, n)
			}
		}
		for _, n := range tt.lack {
			if tt.c.Has(n) {
				t.Errorf("%s: it has %d", tt.name, n)
			}
		}
	}
	c := Checkpoint{}
	for range 1000 {
		c = Checkpoint{Number: c.Number + 2, Lacks: c.LacksOfNext(c.Number + 2)}
	}
	if len(c.Lacks) != maxLacks || c.Has(2) || !c.Has(c.Number-2) || c.Has(c.Number-1) {
		t.Errorf("after very many: %v", c.Lacks)
	}
}

func TestABrokenStateFileIsAnError(t *testing.T) {
	files := newFiles(t)
	for name, text := range map[string]string{"cut off": `{"state":{"da`, "empty": ``, "another": `{"table-uuid":"x"}`} {
		t.Run(name, func(t *testing.T) {
			kept, err := files.Keep(Checkpoint{State: long}, nil)
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(strings.TrimPrefix(kept.File, "file://"), []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			if _, err := kept.Load(files.files); err == nil || !strings.Contains(err.Error(), kept.File) {
				t.Errorf("error %v", err)
			}
		})
	}
	if _, err := Parse(json.RawMessage(`{"number":1}`)); err == nil {
		t.Error("a checkpoint without a state is none")
	}
}

// Only files that are old and that nobody names are removed.
func TestStateFilesGoWhenNothingNamesThem(t *testing.T) {
	files := newFiles(t)
	root := strings.TrimPrefix(files.warehouse, "file://")
	inside, outside := "file://"+root+"/ns.db/t/metadata", "/elsewhere/metadata"
	keep := func(dirs ...string) string {
		kept, err := files.Keep(Checkpoint{State: long}, dirs)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimPrefix(kept.File, "file://")
	}
	named := map[string]string{
		"by the catalog": keep(inside), "by a metadata file": keep(inside), "by one elsewhere": keep(inside, outside),
		"by nobody": keep(inside, outside), "by nobody, young": keep(inside), "perhaps": keep("/broken"), "broken": keep(inside), "cut off": keep(inside),
		"no mark": filepath.Join(filepath.Dir(keep()), "mine.json"),
	}
	for name, text := range map[string]string{"broken": `{"state":null}`, "cut off": `{"state":{"n"`, "no mark": `{"state":{}}`} {
		if err := os.WriteFile(named[name], []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	old := time.Now().Add(-2 * filenames.OrphanAge)
	for name, file := range named {
		if name == "by nobody, young" {
			continue
		}
		if err := os.Chtimes(file, old, old); err != nil {
			t.Fatal(err)
		}
	}
	set := func(file string) map[string]bool { return map[string]bool{filepath.Base(file): true} }
	references := References{
		Catalog: func(context.Context) (map[string]bool, error) { return set(named["by the catalog"]), nil },
		Directory: func(_ context.Context, _ iceio.ListableIO, dir string) (map[string]bool, error) {
			switch dir {
			case inside:
				return set(named["by a metadata file"]), nil
			case outside:
				return set(named["by one elsewhere"]), nil
			}
			return nil, errors.New("permission denied")
		},
	}
	for _, dryRun := range []bool{true, false} {
		removed, left, err := files.Remove(t.Context(), references, dryRun)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff([]string{named["by nobody"], named["cut off"]}, removed); diff != "" {
			t.Errorf("removed (-want +got):\n%s", diff)
		}
		if text := strings.Join(left, "\n"); len(left) != 2 || !strings.Contains(text, filepath.Base(named["perhaps"])) || !strings.Contains(text, filepath.Base(named["broken"])) {
			t.Errorf("left %q", left)
		}
	}
	for name, file := range named {
		if _, err := os.Stat(file); errors.Is(err, fs.ErrNotExist) != (name == "by nobody" || name == "cut off") {
			t.Errorf("named %s: %v", name, err)
		}
	}
}

// Of replaced rows only a state of all streams stays, wherever it is kept.
func TestWhichStatesCoverAllStreams(t *testing.T) {
	files := newFiles(t)
	padding := `"` + strings.Repeat("x", 2*longState) + `"`
	for _, text := range []string{`1`, padding} {
		for state, want := range map[string]bool{
			`{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"n":` + text + `}}}`: false,
			`{"type":"GLOBAL","global":{"shared_state":{"n":` + text + `},"stream_states":[]}}`:               true,
			`{"type":"LEGACY","data":{"n":` + text + `}}`:                                                     true,
		} {
			kept, err := files.Keep(Checkpoint{Number: 1, State: json.RawMessage(state)}, nil)
			if err != nil {
				t.Fatal(err)
			}
			raw, err := kept.Encode()
			if err != nil {
				t.Fatal(err)
			}
			if got, err := CoversAll(files.files, raw); got != want || err != nil {
				t.Errorf("%.60s…: %v, %v, want %v", state, got, err, want)
			}
			if kept.File == "" {
				continue
			}
			if err := files.files.Remove(kept.File); err != nil {
				t.Fatal(err)
			}
			if got, err := CoversAll(files.files, raw); got || err != nil {
				t.Errorf("%.60s…, whose file is gone: %v, %v", state, got, err)
			}
		}
	}
	for _, raw := range []string{``, `{}`, `7`} {
		if got, err := CoversAll(files.files, json.RawMessage(raw)); got || err != nil {
			t.Errorf("%q: %v, %v", raw, got, err)
		}
	}
}
