package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var faultShare = flag.Int("faults", testsize.Of(1, 10), "how many faults TestAnyCallMayFail injects into each workload; 0: all of them, also while maintenance has work")

// A workload is a table and a run that writes it, into whose calls faults are injected.
type workload struct {
	name    string
	mode    protocol.DestinationSyncMode
	upsert  string
	base    int  // records that are in the table before, each with a commit of its own
	old     bool // of those, that they are of an earlier generation, which the run replaces
	refresh bool // by generation ids
	resumed int  // records of the refresh that an earlier attempt has left on its branch
	sorted  bool // and partitioned
	long    bool // states, which are in files of their own
	onS3    bool // the files
}

var workloads = []workload{
	{name: "append to no table", mode: protocol.Append},
	{name: "append", mode: protocol.Append, base: 26},
	{name: "append, long states", mode: protocol.Append, base: 26, long: true},
	{name: "append_dedup, copy on write", mode: protocol.AppendDedup, upsert: "copy_on_write", base: 26},
	{name: "append_dedup, merge on read", mode: protocol.AppendDedup, upsert: "merge_on_read", base: 26},
	{name: "append_dedup, partitioned and sorted", mode: protocol.AppendDedup, base: 26, sorted: true},
	{name: "overwrite", mode: protocol.Overwrite, base: 26, old: true},
	{name: "refresh, append", mode: protocol.Append, base: 26, old: true, refresh: true},
	{name: "refresh, append_dedup, resumed", mode: protocol.AppendDedup, base: 26, old: true, refresh: true, resumed: 4},
	{name: "append to no table, on S3", mode: protocol.Append, onS3: true},
	{name: "append, on S3", mode: protocol.Append, base: 26, long: true, onS3: true},
	{name: "append_dedup, copy on write, on S3", mode: protocol.AppendDedup, upsert: "copy_on_write", base: 26, onS3: true},
	{name: "append_dedup, merge on read, on S3", mode: protocol.AppendDedup, upsert: "merge_on_read", base: 26, onS3: true},
	{name: "overwrite, on S3", mode: protocol.Overwrite, base: 26, old: true, onS3: true},
	{name: "refresh, append_dedup, resumed, on S3", mode: protocol.AppendDedup, base: 26, old: true, refresh: true, resumed: 4, onS3: true},
}

const (
	fedRecords = 12 // by a run
	fedEvery   = 4  // records between states, each of which is a commit
)

// first and last are the positions in the feed at which the run begins and ends.
func (w workload) first() int {
	if w.old {
		return w.resumed
	}
	return w.base
}

func (w workload) last() int {
	if w.old {
		return fedRecords
	}
	return w.base + fedRecords
}

// fed is record n of the feed, and whether it deletes. Rows of an earlier generation have negative versions.
func (w workload) fed(n int) (id, version int, deleted bool) {
	if w.mode == protocol.AppendDedup {
		return n * 7 % 11, n, n%13 == 5
	}
	return n, n, false
}

// rows are those that a reader must see after so many records.
func (w workload) rows(n int) []string {
	byID := map[int]string{}
	for i := range n {
		id, version, deleted := w.fed(i)
		if delete(byID, id); !deleted {
			byID[id] = fmt.Sprint(id, "/", version)
		}
	}
	rows := []string{}
	for _, r := range byID {
		rows = append(rows, r)
	}
	slices.Sort(rows)
	return rows
}

func (w workload) before() []string {
	if !w.old {
		return w.rows(w.base)
	}
	rows := []string{}
	for n := range w.base {
		rows = append(rows, fmt.Sprint(n, "/", -1-n))
	}
	slices.Sort(rows)
	return rows
}

// input is the feed from one position to another, and what comes at its end.
func (w workload) input(from, to int, ending string) []byte {
	var b bytes.Buffer
	pad := ""
	if w.long {
		pad = strings.Repeat("y", 2000)
	}
	for n := from; n < to; n++ {
		id, version, deleted := w.fed(n)
		fmt.Fprintf(&b, `{"type":"RECORD","record":{"stream":"items","emitted_at":1767225600000,"data":{"id":%d,"version":%d`, id, version)
		if deleted {
			b.WriteString(`,"_ab_cdc_deleted_at":"2026-01-01T00:00:00Z"`)
		}
		b.WriteString("}}}\n")
		if (n+1)%fedEvery == to%fedEvery {
			fmt.Fprintf(&b, `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"items"},"stream_state":{"n":%d,"pad":%q}}}}`+"\n", n+1, pad)
		}
	}
	return append(b.Bytes(), ending...)
}

const fedComplete = `{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1767225600000,"stream_status":{"stream_descriptor":{"name":"items"},"status":"COMPLETE"}}}` + "\n"

// position is the n of a state.
func position(t *testing.T, state json.RawMessage) int {
	t.Helper()
	var s struct {
		Stream struct {
			State struct{ N int } `json:"stream_state"`
		}
	}
	if err := json.Unmarshal(state, &s); err != nil {
		t.Fatal(err)
	}
	return s.Stream.State.N
}

type faultAt struct {
	kind fault
	at   int
}

// Whichever call of the catalog, the file system or S3 fails, and however: no state is echoed that a
// reader cannot see, the table is whole, and a run without faults that goes on from there ends
// with every row once.
func TestAnyCallMayFail(t *testing.T) {
	for n, w := range workloads {
		if *faultShare > 0 && n%testsize.Of(2, 1) > 0 {
			continue // those that are left are of every mode, on either storage
		}
		t.Run(w.name, func(t *testing.T) {
			t.Parallel()
			if *faultShare > 0 {
				w.base = min(w.base, 4) // a table with work for maintenance takes seconds to make
			}
			l := newTestLake(t, w)
			if got := l.observe(); !cmp.Equal(got.main, w.before()) && w.base > 0 {
				t.Fatalf("at first the table holds %v", got)
			}
			whole := &faults{at: math.MaxInt}
			if r := l.write(whole, w.input(w.first(), w.last(), fedComplete)); r.Code != 0 {
				t.Fatalf("without a fault: exit code %d\n%s", r.Code, r.Stdout)
			}
			l.wantComplete(true)
			counts := map[string]int{}
			var all []faultAt
			for n, name := range whole.calls {
				counts[name]++
				for _, kind := range faultsOf(name, n) {
					all = append(all, faultAt{kind, n})
				}
			}
			t.Logf("%d calls, %d faults: %v", len(whole.calls), len(all), counts)
			step := 1
			if *faultShare > 0 {
				step = max(1, len(all) / *faultShare)
			}
			for i := step * (2*n + 1) / (2 * len(workloads)); i < len(all); i += step { // of each workload others
				f := all[i]
				t.Run(fmt.Sprintf("%s %d %s", whole.calls[f.at], f.at, f.kind), func(t *testing.T) {
					l.t = t
					l.runWithFault(&faults{kind: f.kind, at: f.at})
				})
			}
		})
	}
}

// runWithFault runs the workload with a fault. From what that left it continues in two ways: from the table's state,
// and from the last state that was echoed.
func (l *testLake) runWithFault(f *faults) {
	l.copy(l.dir, l.saved)
	r := l.write(f, l.input(l.first(), l.last(), fedComplete))
	echoed := -1
	for _, s := range r.States() {
		echoed = position(l.t, s.Raw)
	}
	closing := f.at < len(f.calls) && f.calls[f.at] == "CloseCatalog" // everything is committed by then
	if closing && f.kind != hangs && (r.Code != 0 || !strings.Contains(string(r.Stdout), "the catalog could not be closed")) {
		l.t.Errorf("exit code %d\n%s", r.Code, r.Stdout)
	}
	switch errs := r.Errors(); {
	case r.Code == 0 && echoed != l.last():
		l.t.Errorf("the run succeeded and echoed %d", echoed)
	case r.Code != 0 && (f.kind == cutBefore || f.kind == cutAfter):
		l.t.Errorf("exit code %d, though the request was made again\n%s", r.Code, r.Stdout)
	case r.Code != 0 && len(errs) == 0:
		l.t.Errorf("exit code %d without a TRACE", r.Code)
	case r.Code != 0:
		l.t.Logf("%s: %s", errs[0].FailureType, errs[0].Message)
		if told := errs[0].Message; f.kind == panics {
			if !strings.Contains(told, panicMessage) || !strings.Contains(errs[0].StackTrace, "goroutine") {
				l.t.Errorf("the TRACE does not tell where the panic came from: %+v", errs[0])
			}
		} else if names := func(part string) bool { return strings.Contains(told, part) }; !strings.HasSuffix(f.calls[f.at], "Catalog") &&
			!names("items") && !names("answer") {
			l.t.Errorf("the TRACE says nothing of what failed: %s", told)
		}
	}
	for _, m := range r.Messages {
		if m.Log != nil && m.Log.Level == "WARN" {
			l.t.Logf("WARN %s", m.Log.Message)
		}
	}
	at := l.wantConsistent(echoed)
	left := l.dir + ".left"
	l.copy(left, l.dir)
	resumes := func(after string, from int, once bool) {
		l.t.Helper()
		l.copy(l.dir, left)
		if r := l.write(nil, l.input(from, l.last(), fedComplete)); r.Code != 0 {
			l.t.Fatalf("resumed from %s: exit code %d\n%s", after, r.Code, r.Stdout)
		}
		l.wantComplete(once)
	}
	fromState, fromEchoes := max(at.position, l.first()), max(echoed, l.first())
	if l.mode == protocol.Overwrite {
		fromState, fromEchoes = 0, 0
	}
	resumes("its state", fromState, true)
	if fromEchoes != fromState { // or it would be the same run
		resumes("the echoes", fromEchoes, l.mode != protocol.Append)
	}
}

// wantConsistent checks that the table holds what its state says, no less than was echoed, and nothing else.
func (l *testLake) wantConsistent(echoed int) observed {
	l.t.Helper()
	got := l.observe()
	same := func(what string, got, want []string) {
		l.t.Helper()
		if diff := cmp.Diff(want, got); diff != "" {
			l.t.Errorf("%s, at %d (-want +got):\n%s", what, echoed, diff)
		}
	}
	switch whole := cmp.Equal(got.main, l.rows(l.last())); {
	case !l.old && got.main == nil:
		if got.position >= 0 || echoed >= 0 {
			l.t.Errorf("no table, at %d; %d was echoed", got.position, echoed)
		}
	case !l.old:
		same("rows of the table", got.main, l.rows(max(got.position, l.base)))
		if got.position < echoed {
			l.t.Errorf("state %d was echoed, the table is at %d", echoed, got.position)
		}
	case got.branch != nil:
		same("rows of the table", got.main, l.before())
		same("rows of the refresh", got.branch, l.rows(max(got.position, 0)))
		if got.position < echoed {
			l.t.Errorf("state %d was echoed, the refresh is at %d", echoed, got.position)
		}
	case whole:
		if l.refresh && got.position != l.last() {
			l.t.Errorf("the refresh is over, the table is at %d", got.position)
		}
	default:
		same("rows of the table", got.main, l.before())
		if echoed >= 0 {
			l.t.Errorf("state %d was echoed, and the table is as before", echoed)
		}
	}
	return got
}

// wantComplete checks that the table holds all of the feed.
func (l *testLake) wantComplete(once bool) {
	l.t.Helper()
	got := l.observe()
	if !once {
		got.main = slices.Compact(got.main)
	}
	if diff := cmp.Diff(l.rows(l.last()), got.main); diff != "" {
		l.t.Errorf("rows in the end (-want +got):\n%s", diff)
	}
	if got.branch != nil {
		l.t.Errorf("the refresh is not over")
	}
	if l.mode != protocol.Overwrite && got.position != l.last() {
		l.t.Errorf("in the end the state is %d", got.position)
	}
}

// When the catalog is closed, every row and state is committed.
func TestACatalogThatCannotBeClosedLosesNothing(t *testing.T) {
	l := newTestLake(t, workload{mode: protocol.Append})
	for _, kind := range []fault{failsBefore, failsAfter, panics} {
		t.Run(string(kind), func(t *testing.T) {
			l.t = t
			l.runWithFault(&faults{kind: kind, only: "CloseCatalog"})
		})
	}
}

// Files that hang cannot be interrupted, nor can the opening and closing of a catalog; a run that is told to stop ends all the same. What
// a check removes at its end is not interrupted either, and a catalog has limited time for it.
func TestToldToStopWhileFilesHang(t *testing.T) {
	l := newTestLake(t, workload{mode: protocol.Append})
	const waited = "The run was told to stop. It waited 2m0s"
	unanswered := "The catalog " + l.dir + "/catalog.db has not answered for 2m0s."
	for name, tc := range map[string]struct {
		verb string
		at   int
		only string
		want string
	}{
		"a write":              {"write", 12, "", waited},
		"a write, opening":     {"write", 0, "OpenCatalog", waited},
		"a write, closing":     {"write", 0, "CloseCatalog", waited},
		"a check":              {"check", 0, "Create", waited},
		"a check, opening":     {"check", 0, "OpenCatalog", waited},
		"a check, cleaning up": {"check", 0, "DropTable", unanswered},
		"a check, closing":     {"check", 0, "CloseCatalog", waited},
	} {
		t.Run(name, func(t *testing.T) {
			l.t = t
			l.copy(l.dir, l.saved)
			args, input := []string{tc.verb, "--config", l.config}, []byte(nil)
			if tc.verb == "write" {
				args, input = append(args, "--catalog", l.catalog), l.input(0, l.last(), fedComplete)
			}
			var told []string
			r := l.run(&faults{kind: hangs, at: tc.at, only: tc.only}, input, args...)
			for _, m := range r.Messages {
				if s := m.ConnectionStatus; s != nil && s.Status == "FAILED" {
					told = append(told, s.Message)
				}
			}
			for _, e := range r.Errors() {
				told = append(told, e.Message)
				if e.FailureType != protocol.TransientError {
					t.Errorf("%s: %s", e.FailureType, e.Message)
				}
			}
			if tc.verb == "write" && r.Code == 0 || len(told) != 1 || !strings.HasPrefix(told[0], tc.want) {
				t.Errorf("exit code %d, %q", r.Code, told)
			}
		})
	}
}
