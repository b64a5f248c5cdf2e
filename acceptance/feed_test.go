//go:build acceptance

package acceptance

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A feed is a source that can start anywhere: five interleaved streams, one for each way to keep
// records, with states that say how many records came before. Record n of a stream is always the same.
//
//	log       append                ids 0, 1, 2, …
//	accounts  append_dedup          few ids, each again and again with a greater version; some records delete
//	totals    overwrite             ids 0, 1, 2, …, all of one version
//	journal   append, refreshed        as log, in place of an older generation
//	members   append_dedup, refreshed  as accounts, in place of an older generation
type feed struct {
	lengths map[string]int
	version int // of totals; of journal and members, the generation
}

var (
	newerFeed = feed{lengths: map[string]int{"log": 40_000, "accounts": 20_000, "totals": 10_000, "journal": 30_000, "members": 15_000}, version: 2}
	olderFeed = feed{lengths: map[string]int{"totals": 100, "journal": 100, "members": 100}, version: 1} // what its overwrite and refreshes replace
)

type feedStream struct {
	name      string
	mode      protocol.DestinationSyncMode
	every     int // records between states
	refreshed bool
}

var feedStreams = []feedStream{
	{name: "log", mode: protocol.Append, every: 700},
	{name: "accounts", mode: protocol.AppendDedup, every: 1100},
	{name: "totals", mode: protocol.Overwrite, every: 1900},
	{name: "journal", mode: protocol.Append, every: 900, refreshed: true},
	{name: "members", mode: protocol.AppendDedup, every: 1300, refreshed: true},
}

func (f feed) stream(name string) feedStream {
	return feedStreams[slices.IndexFunc(feedStreams, func(s feedStream) bool { return s.name == name })]
}

// replaces reports whether the stream's rows come all at once, in the place of others.
func (s feedStream) replaces() bool { return s.mode == protocol.Overwrite }

// accountIDs is how many rows accounts and members can have.
const accountIDs = 5000

func account(n int) (id int, deleted bool) { return n * 7919 % accountIDs, n%13 == 5 }

func (f feed) record(stream string, n int) string {
	id, version, deleted := n, n, ""
	switch stream {
	case "accounts", "members":
		var gone bool
		if id, gone = account(n); gone {
			deleted = `,"_ab_cdc_deleted_at":"2026-01-01T00:00:00Z"`
		}
	case "totals":
		version = f.version
	}
	return fmt.Sprintf(`{"id":%d,"version":%d,"name":"%s %d of %d"%s}`, id, version, stream, id, version, deleted)
}

// write writes everything from given positions on.
func (f feed) write(out io.Writer, from map[string]int) error {
	w := bufio.NewWriterSize(out, 16<<10)
	at := map[string]int{}
	maps.Copy(at, from)
	for open := true; open; {
		open = false
		for _, s := range feedStreams {
			n := at[s.name]
			if n >= f.lengths[s.name] {
				continue
			}
			open = true
			fmt.Fprintf(w, `{"type":"RECORD","record":{"stream":%q,"emitted_at":1767225600000,"data":%s}}`+"\n", s.name, f.record(s.name, n))
			at[s.name] = n + 1
			if at[s.name]%s.every == 0 {
				fmt.Fprint(w, feedState(s.name, at[s.name]))
			}
		}
	}
	for _, s := range feedStreams {
		if length, configured := f.lengths[s.name]; configured {
			fmt.Fprint(w, feedState(s.name, length), status(s.name, protocol.Complete))
		}
	}
	return w.Flush()
}

func feedState(stream string, n int) string {
	return fmt.Sprintf(`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":%q},"stream_state":{"n":%d}}}}`+"\n", stream, n)
}

// configure writes the catalog of the feed's streams.
func (f feed) configure(l *lake) string {
	var streams []any
	for _, s := range feedStreams {
		if _, configured := f.lengths[s.name]; !configured {
			continue
		}
		stream := map[string]any{
			"stream":    map[string]any{"name": s.name, "json_schema": json.RawMessage(itemSchema), "supported_sync_modes": []string{"full_refresh", "incremental"}},
			"sync_mode": "incremental", "destination_sync_mode": s.mode, "cursor_field": []string{"version"}, "primary_key": [][]string{{"id"}},
		}
		if s.refreshed {
			// The first generation is kept, whatever comes; a later one takes its place.
			stream["generation_id"], stream["minimum_generation_id"], stream["sync_id"] = f.version, 0, f.version
			if f.version > 1 {
				stream["minimum_generation_id"] = f.version
			}
		}
		streams = append(streams, stream)
	}
	path := filepath.Join(filepath.Dir(l.config), "feed.catalog.json")
	writeJSON(l.t, path, map[string]any{"streams": streams})
	return path
}

// An attempt is one run of the destination on a feed, which may be ended before its time.
type attempt struct {
	cmd    *exec.Cmd
	run    *protocoltest.Run
	passed *meter         // what went in
	echoed map[string]int // the position of the last echoed state of each stream
	ended  bool           // before its time
}

// A stop says when and how an attempt is ended: when any of these has been reached; zero values
// never are.
type stop struct {
	bytes  int64          // of input
	echoes int            // states repeated, and then
	fed    bool           // everything is written, and then
	last   bool           // the last state is repeated, so that only maintenance is left, and then
	delay  time.Duration  // this much later
	after  time.Duration  // since the start
	by     syscall.Signal // 0: SIGKILL
}

func (s stop) String() string {
	by, at := "killed", "never"
	if s.by == syscall.SIGTERM {
		by = "terminated"
	}
	switch {
	case s.bytes > 0:
		at = fmt.Sprintf("at byte %d", s.bytes)
	case s.echoes > 0:
		at = fmt.Sprintf("%v after echo %d", s.delay, s.echoes)
	case s.fed:
		at = fmt.Sprintf("%v after the end of the input", s.delay)
	case s.last:
		at = fmt.Sprintf("%v after the last echo", s.delay)
	case s.after > 0:
		at = fmt.Sprintf("%v after the start", s.after)
	}
	return by + " " + at
}

// try feeds the destination from given positions on, until its end or the stop.
func (f feed) try(l *lake, catalog string, from map[string]int, at stop) *attempt {
	l.t.Helper()
	a := newAttempt(l, catalog)
	to, back := a.start(l.t)
	if l.largest > 0 {
		if err := unix.Prlimit(a.cmd.Process.Pid, unix.RLIMIT_FSIZE, &unix.Rlimit{Cur: uint64(l.largest), Max: uint64(l.largest)}, nil); err != nil {
			l.t.Fatal(err)
		}
	}
	var once sync.Once
	end := func() {
		once.Do(func() { a.ended = a.cmd.Process.Signal(cmp.Or(at.by, syscall.SIGKILL)) == nil })
	}
	if at.after > 0 {
		timer := time.AfterFunc(at.after, end)
		defer timer.Stop()
	}
	var both sync.WaitGroup
	both.Go(func() {
		a.passed.limit(at.bytes, end)
		err := f.write(a.passed, from) // it fails when the destination is ended
		to.Close()
		if at.fed && err == nil {
			time.Sleep(at.delay)
			end()
		}
	})
	both.Go(func() {
		a.listen(back, func(echoes int) {
			if echoes == at.echoes || at.last && f.over(a.echoed) {
				time.Sleep(at.delay)
				end()
			}
		})
	})
	both.Wait()
	a.end(l.t)
	return a
}

// over reports whether the states that were echoed are the last ones.
func (f feed) over(echoed map[string]int) bool {
	return maps.Equal(echoed, f.lengths)
}

func newAttempt(l *lake, catalog string) *attempt {
	a := &attempt{run: &protocoltest.Run{Args: []string{"write", "--config", l.config, "--catalog", catalog}}, echoed: map[string]int{}}
	a.cmd = exec.CommandContext(l.t.Context(), destination, a.run.Args...)
	return a
}

func (a *attempt) start(t testing.TB) (io.WriteCloser, io.Reader) {
	t.Helper()
	to, err := a.cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := a.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	a.cmd.Stderr = &bytes.Buffer{}
	if err := a.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	a.passed = &meter{out: to}
	return to, from
}

// listen takes what the destination says, until it ends.
func (a *attempt) listen(from io.Reader, heard func(echoes int)) {
	lines := bufio.NewReader(from)
	echoes := 0
	for {
		line, err := lines.ReadBytes('\n')
		a.run.Stdout = append(a.run.Stdout, line...)
		if err != nil {
			return
		}
		var m struct {
			State *feedPosition
		}
		if json.Unmarshal(line, &m) == nil && m.State != nil {
			a.echoed[m.State.Stream.Descriptor.Name] = m.State.Stream.State.N
			echoes++
			heard(echoes)
		}
	}
}

type feedPosition struct {
	Stream struct {
		Descriptor struct{ Name string } `json:"stream_descriptor"`
		State      struct{ N int }       `json:"stream_state"`
	}
}

// end waits for the process and holds what it said against the rules.
func (a *attempt) end(t testing.TB) {
	t.Helper()
	a.run.Code = wait(t, a.cmd)
	a.run.Input, a.run.Stderr = a.passed.written.Bytes(), a.cmd.Stderr.(*bytes.Buffer).Bytes()
	a.run.Check(t)
}

// A meter writes on and calls a function when so much has been written.
type meter struct {
	out     io.Writer
	written bytes.Buffer
	most    int64
	reached func()
}

func (m *meter) limit(most int64, reached func()) { m.most, m.reached = most, reached }

func (m *meter) Write(p []byte) (int, error) {
	if m.most > 0 && int64(m.written.Len()+len(p)) > m.most {
		p = p[:m.most-int64(m.written.Len())] // in the middle of a line
		m.written.Write(p)
		_, _ = m.out.Write(p)
		m.reached()
		return 0, io.ErrClosedPipe
	}
	m.written.Write(p)
	return m.out.Write(p)
}
