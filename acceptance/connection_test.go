//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A connection is a member, a lake, and the streams that go from one into the other.
type connection struct {
	t       testing.TB
	member  *member
	lake    *lake
	catalog string // path of the configured catalog
	streams []configured
	launch  launch // of both programs in the pipe
	ids     any    // of every sync and every generation; nil: without
}

type configured struct {
	Stream struct {
		Name                    string          `json:"name"`
		JSONSchema              json.RawMessage `json:"json_schema"`
		SupportedSyncModes      []string        `json:"supported_sync_modes"`
		SourceDefinedCursor     bool            `json:"source_defined_cursor"`
		DefaultCursorField      []string        `json:"default_cursor_field,omitempty"`
		SourceDefinedPrimaryKey [][]string      `json:"source_defined_primary_key"`
	} `json:"stream"`
	SyncMode            protocol.SyncMode            `json:"sync_mode"`
	DestinationSyncMode protocol.DestinationSyncMode `json:"destination_sync_mode"`
}

func (c configured) key() string { return c.Stream.SourceDefinedPrimaryKey[0][0] }

// connect configures all streams that discover shows: those that can be read incrementally with the
// given mode, the others full refresh and overwrite. The mode overwrite makes all of them so.
func connect(t testing.TB, m *member, l *lake, mode protocol.DestinationSyncMode) *connection {
	t.Helper()
	c := &connection{t: t, member: m, lake: l, catalog: filepath.Join(filepath.Dir(l.config), "catalog.json")}
	for _, raw := range discover(t, source, "--config", m.config) {
		s := configured{SyncMode: protocol.FullRefresh, DestinationSyncMode: protocol.Overwrite}
		unmarshal(t, raw, &s.Stream)
		if len(s.Stream.SupportedSyncModes) == 2 && mode != protocol.Overwrite {
			s.SyncMode, s.DestinationSyncMode = protocol.Incremental, mode
		}
		c.streams = append(c.streams, s)
	}
	if len(c.streams) != 11 {
		t.Fatalf("discover shows %d streams, want 11", len(c.streams))
	}
	writeJSON(t, c.catalog, map[string]any{"streams": c.streams})
	return c
}

// synced is one run of the pipe.
type synced struct {
	read, write *protocoltest.Run
	killed      string // the side that was, if one was
}

// A cut kills one side of the pipe with SIGKILL when so many bytes have passed. What the source has
// written beyond them does not arrive, as if it had died earlier.
type cut struct {
	side    string // "source" or "destination"
	after   int
	lineEnd bool // at the next end of a line, where nothing shows that more was to come
}

// sync resumes from `destination state`, must succeed, and keeps a configuration that the
// source hands out, as an orchestrator does.
func (c *connection) sync() synced {
	c.t.Helper()
	s := c.pipe(nil)
	for _, r := range []*protocoltest.Run{s.read, s.write} {
		if r.Code != 0 {
			c.t.Fatalf("%s: exit code %d\n%s\n%s", r.Args[0], r.Code, last(r.Stdout, 4000), last(r.Stderr, 4000))
		}
	}
	c.keepConfig(s.read)
	return s
}

func (c *connection) keepConfig(read *protocoltest.Run) {
	for _, m := range read.Messages {
		if m.Control != nil {
			writeJSON(c.t, c.member.config, m.Control.ConnectorConfig.Config)
		}
	}
}

// pipe runs `source read | destination write`, resumed from `destination state`. What both say is
// held against the rules of the protocol.
func (c *connection) pipe(at *cut) synced {
	c.t.Helper()
	state, _ := c.lake.state(c.catalog)
	read := []string{"read", "--config", c.member.config, "--catalog", c.catalog, "--state", state}
	write := []string{"write", "--config", c.lake.config, "--catalog", c.catalog}
	s := piped(c.t, c.launch.command(c.t.Context(), source, read...), c.launch.command(c.t.Context(), destination, write...), at)
	s.read.Args, s.write.Args = read, write
	s.read.Check(c.t)
	s.write.Check(c.t)
	return s
}

// piped runs two programs, the output of one being the input of the other.
func piped(t testing.TB, reader, writer *exec.Cmd, at *cut) synced {
	t.Helper()
	s := synced{read: &protocoltest.Run{}, write: &protocoltest.Run{}}
	var readErr, written, writeErr bytes.Buffer
	reader.Stderr, writer.Stdout, writer.Stderr = &readErr, &written, &writeErr
	from, err := reader.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	to, err := writer.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	for _, cmd := range []*exec.Cmd{reader, writer} {
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
	}
	var passed []byte
	passed, s.killed = between(t, from, to, at, map[string]*os.Process{"source": reader.Process, "destination": writer.Process})
	s.read.Code, s.write.Code = wait(t, reader), wait(t, writer)
	s.read.Stdout, s.read.Stderr = passed, readErr.Bytes()
	s.write.Input, s.write.Stdout, s.write.Stderr = passed, written.Bytes(), writeErr.Bytes()
	if s.killed != "" { // its end may have been lost on the way, or have found no reader
		s.read.Code = -1
	}
	return s
}

// between carries the source's output to the destination and returns it, and which side it killed.
func between(t testing.TB, from io.ReadCloser, to io.WriteCloser, at *cut, sides map[string]*os.Process) (passed []byte, killed string) {
	t.Helper()
	defer from.Close() // a source whose reader has gone gets SIGPIPE
	defer to.Close()
	block := make([]byte, 32<<10)
	for {
		n, err := from.Read(block)
		next := block[:n]
		end := at.in(passed, next)
		if end >= 0 {
			next = next[:end]
		}
		passed = append(passed, next...)
		if _, werr := to.Write(next); werr != nil {
			return passed, "" // the destination has ended
		}
		if end >= 0 {
			if err := sides[at.side].Kill(); err != nil && !errors.Is(err, os.ErrProcessDone) {
				t.Fatal(err)
			}
			return passed, at.side
		}
		if err != nil {
			return passed, ""
		}
	}
}

// in is where in the next bytes the cut is, -1 if not there.
func (c *cut) in(passed, next []byte) int {
	if c == nil || len(passed)+len(next) < c.after {
		return -1
	}
	n := max(0, c.after-len(passed))
	if !c.lineEnd {
		return n
	}
	end := bytes.IndexByte(next[n:], '\n')
	if end < 0 {
		return -1
	}
	return n + end + 1
}

// wait waits for a process to end and returns its exit code, -1 after a signal.
func wait(t testing.TB, cmd *exec.Cmd) int {
	t.Helper()
	if err := cmd.Wait(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%s: %v", cmd, err)
	}
	return cmd.ProcessState.ExitCode()
}

// keys are the columns that identify the rows of each stream.
func (c *connection) keys() map[string]string {
	keys := map[string]string{}
	for _, s := range c.streams {
		keys[s.Stream.Name] = s.key()
	}
	return keys
}
