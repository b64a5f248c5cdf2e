//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A platform runs both connectors of a connection as Airbyte does those that its registry does not know: without ids, with
// records and states alone from one to the other, each state numbered.
type platform struct {
	*connection
	t      *testing.T
	engine string
	shared string
	kept   map[string]any // states that the destination has sent back, by stream
	number int            // of the last state
}

func newPlatform(t *testing.T, options map[string]any) *platform {
	t.Helper()
	engine := containerEngine(t)
	dir := sharedDir(t, engine)
	c := connect(t, newMember(t, dir, nil, "--seed", "3"), newLake(t, dir, options), protocol.AppendDedup)
	c.lake.launch = func(_ string, args []string) (string, []string) {
		return engine, inContainer(engine, []string{"-i", "-v", dir + ":" + dir}, destinationImage, args...)
	}
	return &platform{connection: c, t: t, engine: engine, shared: dir, kept: map[string]any{}}
}

// Both images answer as the platform asks before any sync.
func TestLauncherGetsTheAnswers(t *testing.T) {
	p := newPlatform(t, nil)
	for _, tt := range []struct {
		role   role
		config string
		verb   string
		answer string
	}{
		{sourceRole, p.member.config, "spec", "SPEC"},
		{sourceRole, p.member.config, "check", "CONNECTION_STATUS"},
		{sourceRole, p.member.config, "discover", "CATALOG"},
		{destinationRole, p.lake.config, "spec", "SPEC"},
		{destinationRole, p.lake.config, "check", "CONNECTION_STATUS"},
	} {
		t.Run(tt.role.program+" "+tt.verb, func(t *testing.T) {
			args, files := []string{tt.verb}, map[string]any{}
			if tt.verb != "spec" {
				args = append(args, "--config", "connectorConfig.json")
				files["connectorConfig.json"] = p.config(tt.config)
			}
			l := tt.role.launchIn(t, p.engine, p.shared, files, args...)
			var said bytes.Buffer
			for line := range l.lines {
				said.Write(line)
			}
			r := &protocoltest.Run{Args: args, Code: l.wait(), Stdout: said.Bytes(), Stderr: l.stderr.Bytes()}
			if r.Check(t); r.Code != 0 || !bytes.Contains(r.Stdout, []byte(`"type":"`+tt.answer+`"`)) || bytes.Contains(r.Stdout, []byte("FAILED")) {
				t.Errorf("exit code %d: %s\n%s", r.Code, r.Stdout, r.Stderr)
			}
		})
	}
}

// The second sync goes on from the states that came back, and the tables hold what the oracle says.
func TestLauncherFillsTheTables(t *testing.T) {
	p := newPlatform(t, nil)
	p.sync()
	before := p.member.now()
	p.member.pass(40 * 24 * time.Hour)
	p.wantChanges(p.sync(), before)
	p.wantTruth(p.previews())
}

// A sync that the platform gives up when the first state has come back; the next one goes on from the states that came back.
func TestLauncherStopsASync(t *testing.T) {
	for _, how := range []string{"by the launcher", "by a signal to the program", "with its pod"} {
		t.Run(how, func(t *testing.T) {
			p := newPlatform(t, map[string]any{"commit": map[string]any{"max_rows": 1}})
			s := p.replicate(how)
			for side, code := range map[string]int{"source": s.read.Code, "destination": s.write.Code} {
				if killed := how == "with its pod"; code != 143 && !killed || killed && code != -1 {
					t.Errorf("exit code %d of the %s", code, side)
				}
			}
			s.read.Code, s.write.Code = -1, -1 // what they say may end anywhere
			s.read.Check(t)
			s.write.Check(t)
			if len(p.kept) == 0 || len(p.kept) == len(p.streams) {
				t.Fatalf("the sync was stopped with the states of %d streams", len(p.kept))
			}
			p.sync()
			p.wantTruth(p.previews())
		})
	}
}

// sync must succeed.
func (p *platform) sync() synced {
	p.t.Helper()
	s := p.replicate("")
	for _, r := range []*protocoltest.Run{s.read, s.write} {
		if r.Check(p.t); r.Code != 0 {
			p.t.Fatalf("%s: exit code %d\n%s\n%s", r.Args[0], r.Code, last(r.Stdout, 4000), last(r.Stderr, 4000))
		}
	}
	if len(p.kept) != len(p.streams) {
		p.t.Errorf("states of %d streams came back", len(p.kept))
	}
	return s
}

// replicate runs both connectors to their ends, or stops them after the first state.
func (p *platform) replicate(stop string) synced {
	p.t.Helper()
	files := map[string]any{"connectorConfig.json": p.config(p.member.config), "catalog.json": p.configuredCatalog()}
	args := []string{"read", "--config", "connectorConfig.json", "--catalog", "catalog.json"}
	if len(p.kept) > 0 {
		files["inputState.json"] = slices.Collect(maps.Values(p.kept))
		args = append(args, "--state", "inputState.json")
	}
	from := sourceRole.launchIn(p.t, p.engine, p.shared, files, args...)
	to := destinationRole.launchIn(p.t, p.engine, p.shared,
		map[string]any{"connectorConfig.json": p.config(p.lake.config), "catalog.json": p.configuredCatalog()},
		"write", "--config", "connectorConfig.json", "--catalog", "catalog.json")

	var written bytes.Buffer
	first, end := make(chan struct{}, 1), make(chan struct{})
	go func() {
		defer close(end)
		for line := range to.lines {
			written.Write(line)
			if bytes.Contains(line, []byte(`"type":"STATE"`)) {
				select {
				case first <- struct{}{}:
				default:
				}
			}
		}
	}()
	var said, forwarded bytes.Buffer
	in := to.stdin()
	states := 0
	for line := range from.lines {
		said.Write(line)
		if message := p.forward(line); message != nil {
			forwarded.Write(message)
			if _, err := in.Write(message); err != nil {
				p.t.Fatalf("the destination has ended: %v\n%s\n%s", err, last(written.Bytes(), 4000), last(to.stderr.Bytes(), 4000))
			}
			if bytes.Contains(message, []byte(`"type":"STATE"`)) {
				states++
			}
		}
		if stop != "" && states == 3 {
			<-first
			from.stop(stop)
			to.stop(stop)
			break
		}
	}
	s := synced{read: &protocoltest.Run{Args: []string{"read", "--catalog", p.catalog}}, write: &protocoltest.Run{Args: []string{"write"}}}
	s.read.Code = from.wait()
	if err := in.Close(); err != nil {
		p.t.Fatal(err)
	}
	<-end
	s.write.Code = to.wait()
	for line := range bytes.Lines(written.Bytes()) {
		p.keep(line)
	}
	s.read.Stdout, s.read.Stderr = said.Bytes(), from.stderr.Bytes()
	s.write.Input, s.write.Stdout, s.write.Stderr = forwarded.Bytes(), written.Bytes(), to.stderr.Bytes()
	return s
}

// forward is what the platform makes of a message of the source for the destination: records and numbered states.
func (p *platform) forward(line []byte) []byte {
	var message struct {
		Type    string
		State   json.RawMessage
		Control struct {
			ConnectorConfig struct{ Config json.RawMessage }
		}
	}
	unmarshal(p.t, line, &message)
	switch message.Type {
	case "RECORD":
		return line
	case "STATE":
		p.number++
		state := strings.TrimSuffix(strings.TrimSpace(string(message.State)), "}")
		return fmt.Appendf(nil, `{"type":"STATE","state":%s,"id":%d}}`+"\n", state, p.number)
	case "CONTROL":
		writeJSON(p.t, p.member.config, message.Control.ConnectorConfig.Config)
	}
	return nil
}

// keep keeps a state that has come back, without the platform's number.
func (p *platform) keep(line []byte) {
	p.t.Helper()
	var message struct {
		State struct {
			ID     int
			Type   string          `json:"type"`
			Stream json.RawMessage `json:"stream"`
		}
	}
	unmarshal(p.t, line, &message)
	state := message.State
	if state.Stream == nil || !bytes.HasSuffix(line, []byte("\n")) {
		return
	}
	if state.ID == 0 {
		p.t.Errorf("a state came back without its id: %s", line)
	}
	var stream struct {
		Descriptor struct{ Name string } `json:"stream_descriptor"`
	}
	unmarshal(p.t, state.Stream, &stream)
	p.kept[stream.Descriptor.Name] = map[string]any{"type": state.Type, "stream": state.Stream}
}

// configuredCatalog has null where the platform knows nothing.
func (p *platform) configuredCatalog() any {
	p.t.Helper()
	var streams []any
	for _, s := range p.streams {
		streams = append(streams, map[string]any{
			"stream": s.Stream, "sync_mode": s.SyncMode, "destination_sync_mode": s.DestinationSyncMode,
			"cursor_field": s.Stream.DefaultCursorField, "primary_key": s.Stream.SourceDefinedPrimaryKey,
			"generation_id": nil, "minimum_generation_id": nil, "sync_id": nil, "include_files": nil, "destination_object_name": nil,
		})
	}
	return map[string]any{"streams": streams}
}

func (p *platform) config(path string) any {
	p.t.Helper()
	var config map[string]any
	readJSON(p.t, path, &config)
	return config
}
