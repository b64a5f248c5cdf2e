package protocoltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// answers are the messages that a verb must give exactly once.
var answers = map[string]string{"spec": "SPEC", "check": "CONNECTION_STATUS", "discover": "CATALOG"}

// says are the types of messages a verb may send.
var says = map[string][]string{
	"spec":     {"SPEC", "LOG", "TRACE"},
	"check":    {"CONNECTION_STATUS", "LOG", "TRACE", "CONTROL"},
	"discover": {"CATALOG", "LOG", "TRACE", "CONTROL"},
	"read":     {"RECORD", "STATE", "LOG", "TRACE", "CONTROL"},
	"write":    {"STATE", "LOG", "TRACE", "CONTROL"},
}

// checker goes through the messages of one run.
type checker struct {
	run      *Run
	verb     string
	quoted   [][]byte // the secrets, as they stand in JSON
	problems []string
	streams  map[protocol.StreamID]*stream
	kinds    map[protocol.StateType]bool
	answers  int
	errors   int
	given    map[protocol.StreamID][]given // of write: the states that have not come back; GLOBAL and LEGACY ones under the zero StreamID
}

type stream struct {
	status  protocol.StreamStatus
	records int // since its last state
	states  int
}

// problems parses Stdout into Messages and returns the rules broken.
func (r *Run) problems() []string {
	c := &checker{run: r, streams: map[protocol.StreamID]*stream{}, kinds: map[protocol.StateType]bool{}, given: map[protocol.StreamID][]given{}}
	if len(r.Args) > 0 {
		c.verb = r.Args[0]
	}
	for _, secret := range r.Secrets {
		quoted, _ := json.Marshal(secret) // a string always encodes
		c.quoted = append(c.quoted, quoted[1:len(quoted)-1])
	}
	stdout := r.Stdout
	if r.Code < 0 { // killed: the last line may be half of one
		stdout = stdout[:bytes.LastIndexByte(stdout, '\n')+1]
	}
	var err error
	if r.Messages, err = Parse(stdout); err != nil {
		c.problem("%v", err)
	}
	if c.verb == "write" {
		c.readInput()
	}
	for _, m := range r.Messages {
		c.message(m)
	}
	c.secrets(r.Stderr, "stderr")
	if r.Code >= 0 {
		c.end()
	}
	return c.problems
}

func (c *checker) problem(format string, args ...any) {
	c.problems = append(c.problems, fmt.Sprintf(format, args...))
}

func (c *checker) stream(id protocol.StreamID) *stream {
	if c.streams[id] == nil {
		c.streams[id] = &stream{}
	}
	return c.streams[id]
}

func (c *checker) message(m Message) {
	where := fmt.Sprintf("line %d", m.Line)
	if allowed, ok := says[c.verb]; ok && !slices.Contains(allowed, m.Type) {
		c.problem("%s: %s sends no %s", where, c.verb, m.Type)
	}
	if m.Type != "CONTROL" {
		c.secrets(m.Raw, where)
	}
	switch {
	case m.Type == answers[c.verb]:
		c.answers++
		if s := m.ConnectionStatus; s != nil && s.Status == "FAILED" && s.Message == "" {
			c.problem("%s: FAILED without a message", where)
		}
	case m.Record != nil:
		s := c.stream(m.Record.ID())
		s.records++
		if s.status != protocol.Running {
			c.problem("%s: a record of stream %s, whose status is %q", where, m.Record.ID(), s.status)
		}
	case m.Type == "STATE" && c.verb == "write":
		c.echo(m, where)
	case m.Type == "STATE":
		c.state(m, where)
	case m.Trace != nil && m.Trace.Error != nil:
		c.errors++
	case m.Trace != nil && m.Trace.StreamStatus != nil:
		c.status(*m.Trace.StreamStatus, where)
	}
}

// secrets finds secret values in text, as they are or as they stand in JSON.
func (c *checker) secrets(text []byte, where string) {
	for i, secret := range c.run.Secrets {
		if bytes.Contains(text, []byte(secret)) || bytes.Contains(text, c.quoted[i]) {
			c.problem("%s: a secret of the configuration: %s", where, strings.ReplaceAll(string(text), secret, "<here>"))
		}
	}
}

// state checks a source's checkpoint: it counts the records before it.
func (c *checker) state(m Message, where string) {
	s, err := protocol.ParseState(m.State)
	if err != nil {
		c.problem("%s: %v", where, err)
		return
	}
	if c.kinds[s.Type] = true; len(c.kinds) > 1 {
		c.problem("%s: states of several types in one run", where)
	}
	var covered []*stream
	if s.Type == protocol.StreamState {
		covered = []*stream{c.stream(s.Stream)}
		if status := covered[0].status; status == protocol.Complete || status == protocol.Incomplete {
			c.problem("%s: a state of stream %s, which is %s", where, s.Stream, status)
		}
	} else {
		covered = slices.Collect(maps.Values(c.streams))
	}
	records := 0
	for _, st := range covered {
		records += st.records
		st.records = 0
		st.states++
	}
	if got, want := stats(m, "sourceStats").RecordCount.String(), fmt.Sprintf("%d.0", records); got != want {
		c.problem("%s: sourceStats count %q records, %s were sent since the last state", where, got, want)
	}
}

type stateStats struct {
	RecordCount         json.Number `json:"recordCount"`
	RejectedRecordCount json.Number `json:"rejectedRecordCount"`
}

// stats returns a state's counts, as they are written.
func stats(m Message, key string) stateStats {
	var members map[string]json.RawMessage
	var s stateStats
	if json.Unmarshal(m.State, &members) == nil && members[key] != nil {
		_ = json.Unmarshal(members[key], &s) // what is no number stays empty
	}
	return s
}

// next are the statuses that may follow each; RUNNING may follow itself only
// with a reason.
var next = map[protocol.StreamStatus][]protocol.StreamStatus{
	"":               {protocol.Started, protocol.Incomplete},
	protocol.Started: {protocol.Running, protocol.Incomplete},
	protocol.Running: {protocol.Complete, protocol.Incomplete},
}

func (c *checker) status(m StreamStatus, where string) {
	id := m.Stream.ID()
	s := c.stream(id)
	limited := s.status == protocol.Running && m.Status == protocol.Running && len(m.Reasons) > 0
	if !limited && !slices.Contains(next[s.status], m.Status) {
		c.problem("%s: stream %s goes from %q to %s", where, id, s.status, m.Status)
	}
	s.status = m.Status
	if m.Status == protocol.Complete {
		switch {
		case s.states == 0:
			c.problem("%s: stream %s is COMPLETE without a state", where, id)
		case s.records > 0:
			c.problem("%s: stream %s is COMPLETE with %d records after its last state", where, id, s.records)
		}
	}
}

// end checks what only the end of a run can show.
func (c *checker) end() {
	code := c.run.Code
	if answer, ok := answers[c.verb]; ok && (code == 0) != (c.answers == 1) {
		c.problem("exit code %d with %d messages of type %s", code, c.answers, answer)
	}
	if (code == 0) != (c.errors == 0) {
		c.problem("exit code %d with %d TRACE errors", code, c.errors)
	}
	for _, id := range slices.SortedFunc(maps.Keys(c.streams), byName) {
		if s := c.streams[id].status; s == protocol.Started || s == protocol.Running {
			c.problem("stream %s ends as %s", id, s)
		}
	}
	switch {
	case c.verb == "read" && code == 0:
		c.allComplete()
	case c.verb == "write" && code == 0:
		c.allRepeated()
	}
}

func byName(a, b protocol.StreamID) int { return strings.Compare(a.String(), b.String()) }

// allComplete checks that a successful read has completed every stream of the
// catalog.
func (c *checker) allComplete() {
	data, err := os.ReadFile(flagValue(c.run.Args, "catalog"))
	if err != nil {
		return // the output of a process elsewhere
	}
	catalog, err := protocol.ParseConfiguredCatalog(data)
	if err != nil {
		c.problem("exit code 0 for a bad catalog: %v", err)
	}
	for _, s := range catalog.Streams {
		if status := c.stream(s.ID()).status; status != protocol.Complete {
			c.problem("exit code 0 with stream %s %q", s.ID(), status)
		}
	}
}
