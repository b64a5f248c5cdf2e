package protocoltest

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log/slog"
	"maps"
	"slices"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// given is a state that a destination has read.
type given struct {
	raw     json.RawMessage
	records int // of its streams, since their state before it
}

// readInput finds the states of Input and counts the records each covers. What
// comes after an error in it is never read by the destination either.
func (c *checker) readInput() {
	in := protocol.NewInput(bytes.NewReader(c.run.Input), slog.New(slog.DiscardHandler))
	since := map[protocol.StreamID]int{}
	for {
		item, err := in.Next()
		switch {
		case err != nil:
			return
		case item.Records != nil:
			for line := range bytes.Lines(item.Records.Data) {
				var m Message
				if json.Unmarshal(line, &m) == nil && m.Record != nil {
					since[m.Record.ID()]++
				}
			}
			item.Records.Release()
		case item.State != nil:
			g := given{raw: item.State.Raw}
			if item.State.Type == protocol.StreamState {
				g.records = since[item.State.Stream]
				delete(since, item.State.Stream)
			} else {
				for _, n := range since {
					g.records += n
				}
				clear(since)
			}
			c.given[item.State.Stream] = append(c.given[item.State.Stream], g)
		}
	}
}

// echo checks a state that a destination repeats: it is the next one of its
// stream that it was given, with nothing changed but destinationStats, which
// account for every record it covers. Streams do not wait for one another.
func (c *checker) echo(m Message, where string) {
	state, err := protocol.ParseState(m.State)
	if err != nil {
		c.problem("%s: %v", where, err)
		return
	}
	waiting := c.given[state.Stream]
	if len(waiting) == 0 {
		c.problem("%s: a state that was not given: %s", where, m.State)
		return
	}
	want := waiting[0]
	c.given[state.Stream] = waiting[1:]
	if got, want := withoutStats(m.State), withoutStats(want.raw); got != want {
		c.problem("%s: state %s repeated as %s", where, want, got)
		return
	}
	s := stats(m, "destinationStats")
	written, err := s.RecordCount.Float64()
	if err != nil {
		c.problem("%s: destinationStats without recordCount", where)
		return
	}
	rejected, err := s.RejectedRecordCount.Float64()
	if err != nil {
		rejected = 0 // it may be absent
	}
	if written+rejected != float64(want.records) {
		c.problem("%s: destinationStats count %v written and %v rejected of %d records", where, written, rejected, want.records)
	}
}

// allRepeated checks that no state of a successful write is owed.
func (c *checker) allRepeated() {
	for _, id := range slices.SortedFunc(maps.Keys(c.given), byName) {
		if owed := c.given[id]; len(owed) > 0 {
			c.problem("exit code 0 with %d states not repeated, the first %s", len(owed), owed[0].raw)
		}
	}
}

// withoutStats writes a state's members, compact and in order of name, without
// destinationStats.
func withoutStats(state json.RawMessage) string {
	var members map[string]json.RawMessage
	if err := json.Unmarshal(state, &members); err != nil {
		return fmt.Sprintf("%s (%v)", state, err)
	}
	delete(members, "destinationStats")
	for name, value := range members {
		var b bytes.Buffer
		if json.Compact(&b, value) == nil {
			members[name] = b.Bytes()
		}
	}
	text, err := json.Marshal(members)
	if err != nil {
		return fmt.Sprintf("%s (%v)", state, err)
	}
	return string(text)
}
