package syncer

import (
	"bytes"
	"fmt"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// CommitLimits say when a commit is due.
type CommitLimits struct {
	MaxRows      int64 `json:"max_rows,omitempty" jsonschema:"title=Rows,default=1000000,minimum=1,maximum=1000000000" jsonschema_description:"Rows since the last commit." jsonschema_extras:"order=0"`
	MaxMebibytes int64 `json:"max_mebibytes,omitempty" jsonschema:"title=Input (MiB),default=256,minimum=1,maximum=1048576" jsonschema_description:"Mebibytes of input since the last commit." jsonschema_extras:"order=1"`
	MaxSeconds   int64 `json:"max_seconds,omitempty" jsonschema:"title=Seconds,default=300,minimum=1,maximum=86400" jsonschema_description:"Seconds since the first row that is not committed." jsonschema_extras:"order=2"`
}

func (c CommitLimits) maxAge() time.Duration { return time.Duration(c.MaxSeconds) * time.Second }

// The ledger keeps what has been received and is not committed. States cut the
// input into segments, numbered from 1; the rows of each stream are counted by
// segment, which tells how many of them a state covers and how many none does.
//
// Only the goroutine that follows the input uses it, but for the row counts,
// which workers add to.
type ledger struct {
	lanes Streams
	now   func() time.Time

	proofs  *proofs            // of the streams' completeness
	scope   protocol.StateType // of the input's states, once one came
	segment int64              // the open segment's number
	atState bool               // the last message was a state
	pending []stateMark        // states not committed, in order
	held    *heldStates        // these states
	rows    int64              // received and not committed, all streams
	waiting int64              // of these, those that the last cut found waiting
	bytes   int64
	since   time.Time // when the first of them came; zero: there is none
}

// A stateMark is a state and the segment it ends.
type stateMark struct {
	state   heldState
	lane    *Stream // of a STREAM state; nil: the state covers all lanes
	segment int64
}

// covers tells whether the state speaks of the lane's rows.
func (m stateMark) covers(l *Stream) bool { return m.lane == nil || m.lane == l }

func newLedger(ls Streams, held *heldStates) *ledger {
	ids := make([]protocol.StreamID, len(ls.all))
	for i, l := range ls.all {
		ids[i] = l.ID
	}
	return &ledger{lanes: ls, now: time.Now, proofs: newProofs(ids), segment: 1, held: held}
}

// records notes a run of records and returns the segment it belongs to.
func (g *ledger) records(r *protocol.Records) int64 {
	g.rows += int64(bytes.Count(r.Data, []byte{'\n'}))
	g.received(len(r.Data))
	g.atState = false
	return g.segment
}

func (g *ledger) received(size int) {
	if g.since.IsZero() {
		g.since = g.now()
	}
	g.bytes += int64(size)
}

// state notes a state, which ends the open segment.
func (g *ledger) state(s protocol.State) error {
	if g.scope == "" {
		g.scope = s.Type
	}
	if s.Type != g.scope {
		return &protocol.Error{Kind: protocol.SystemError, Message: fmt.Sprintf(
			"The input mixes %s and %s states. A source must keep to one kind in a sync.", g.scope, s.Type)}
	}
	mark := stateMark{segment: g.segment}
	covered := g.lanes.all
	if s.Type == protocol.StreamState {
		l, ok := g.lanes.byID[s.Stream]
		if !ok {
			return unknownStream(s.Stream, "STATE")
		}
		mark.lane = l
		covered = []*Stream{l}
	}
	size := len(s.Raw)
	var err error
	if mark.state, err = g.held.hold(s); err != nil {
		return err
	}
	for _, l := range covered {
		if l.lastState = g.segment; l.waiting > 0 && !g.waits(l) {
			g.waiting -= l.waiting
			l.waiting = 0
		}
	}
	g.pending = append(g.pending, mark)
	g.received(size)
	g.segment++
	g.atState = true
	return nil
}

// cutOff forgets the states from the end of a segment on, in which there was a
// record that could not be read.
func (g *ledger) cutOff(segment int64) {
	g.pending = slices.DeleteFunc(g.pending, func(m stateMark) bool { return m.segment >= segment })
	for _, l := range g.lanes.all {
		if l.lastState < segment {
			continue
		}
		l.lastState = l.committed
		for _, m := range g.pending {
			if m.covers(l) {
				l.lastState = m.segment
			}
		}
	}
}

func unknownStream(id protocol.StreamID, what string) error {
	return &protocol.Error{Kind: protocol.ConfigError, Stream: &id, Message: fmt.Sprintf(
		"The input holds a %s of stream %s, which is not in the catalog. Give the destination the catalog the source was given.", what, id)}
}

// due tells whether the next state should be committed. Rows that wait do not
// count: each state of another stream would be a commit of its own.
func (g *ledger) due(c CommitLimits) bool {
	return g.rows-g.waiting >= c.MaxRows || g.bytes >= c.MaxMebibytes<<20 || !g.since.IsZero() && g.now().Sub(g.since) >= c.maxAge()
}

// cut takes out of the ledger, as a commit, every stream that stands at one of
// its states now. All runs of records must have been decoded.
func (g *ledger) cut() *commit {
	c := &commit{}
	for _, l := range g.lanes.all {
		if !g.waits(l) && l.rows.between(l.lastState, g.segment) == 0 {
			c.lanes = append(c.lanes, g.take(l, l.lastState))
		}
	}
	g.settle(c)
	g.waiting = 0
	for _, l := range g.lanes.all {
		if l.waiting = 0; g.waits(l) {
			l.waiting = l.rows.between(l.committed, g.segment)
		}
		g.waiting += l.waiting
	}
	return c
}

// waits tells whether a stream can be part of no cut before one more state came,
// or before the end. Streams that replace their table stay, as nothing of them
// may become visible before their end; and where a state covers such a stream
// together with others, all of them stay.
func (g *ledger) waits(l *Stream) bool {
	return l.lastState <= l.committed || l.Replaces() || g.scope != protocol.StreamState && g.replacesAny()
}

// assumes reports whether the end of the input would be taken for the end of a
// stream of which nothing proves it.
func (g *ledger) assumes() bool {
	return slices.ContainsFunc(g.lanes.all, func(l *Stream) bool { return !g.proofs.of(l.ID).complete() })
}

// heard reports whether the source has said anything of any stream.
func (g *ledger) heard() bool {
	return g.proofs.statuses || slices.ContainsFunc(g.lanes.all, func(l *Stream) bool { return l.lastState > 0 || g.hasRecords(l) })
}

// hasRecords reports whether a record of the stream has come.
func (g *ledger) hasRecords(l *Stream) bool {
	return l.committed > 0 || l.rows.between(0, g.segment) > 0
}

// finish takes out what is left when no more is read, as far as completion lets
// it, and tells what was decided on each stream.
func (g *ledger) finish(completion Completion, end inputEnd) (*commit, []streamDecision) {
	c := &commit{}
	var decisions []streamDecision
	heard := g.heard()
	swap := map[*Stream]bool{}
	for _, l := range g.lanes.all {
		d := completion.decide(l.ID, streamEnd{
			proof:        g.proofs.of(l.ID),
			input:        end,
			heard:        heard,
			statuses:     g.proofs.statuses,
			generations:  l.stream.GenerationID != nil,
			states:       l.lastState > 0,
			records:      g.hasRecords(l),
			uncovered:    l.rows.between(l.lastState, g.segment),
			replacesRows: l.Replaces(),
			refreshes:    l.refreshes,
		})
		decisions = append(decisions, streamDecision{l, d})
		swap[l] = d.keep == everything
	}
	for _, d := range decisions {
		l := d.lane
		switch {
		case d.keep == everything && l.Replaces():
			lc := g.take(l, g.segment)
			lc.replace = true
			c.lanes = append(c.lanes, lc)
		case l.Replaces():
			// What is staged of it goes; its rows come again.
		case g.scope != "" && g.scope != protocol.StreamState && g.blocked(swap):
			// The states cover a stream that is not swapped in, so they are
			// not echoed, and the rows of all their streams come again.
		case d.keep == everything:
			lc := g.take(l, g.segment)
			lc.finish = l.refreshes
			c.lanes = append(c.lanes, lc)
		case l.lastState > l.committed:
			c.lanes = append(c.lanes, g.take(l, l.lastState))
		}
	}
	g.settle(c)
	return c, decisions
}

type streamDecision struct {
	lane *Stream
	decision
}

func (g *ledger) replacesAny() bool {
	for _, l := range g.lanes.all {
		if l.Replaces() {
			return true
		}
	}
	return false
}

func (g *ledger) blocked(swap map[*Stream]bool) bool {
	for _, l := range g.lanes.all {
		if l.Replaces() && !swap[l] {
			return true
		}
	}
	return false
}

// take makes the lane's part of a commit, of the rows up to a segment.
func (g *ledger) take(l *Stream, upTo int64) *laneCommit {
	lc := &laneCommit{lane: l, upTo: upTo, rows: l.rows.between(0, upTo)}
	for _, m := range g.pending {
		if m.covers(l) {
			lc.state = m
		}
	}
	return lc
}

// settle moves the states that the commit covers from the ledger into it, with
// the number of rows of each, and forgets what is committed.
func (g *ledger) settle(c *commit) {
	in := map[*Stream]*laneCommit{}
	for _, lc := range c.lanes {
		in[lc.lane] = lc
	}
	var stay []stateMark
	since := map[*Stream]int64{}
	for _, m := range g.pending {
		covered, ready := g.lanes.all, true
		if m.lane != nil {
			covered = []*Stream{m.lane}
		}
		for _, l := range covered {
			ready = ready && in[l] != nil
		}
		if !ready {
			stay = append(stay, m)
			continue
		}
		var written int64
		for _, l := range covered {
			written += l.rows.between(max(since[l], l.committed), m.segment)
			since[l] = m.segment
		}
		c.echoes = append(c.echoes, echo{state: m.state, lanes: covered, written: written})
	}
	g.pending = stay
	for _, lc := range c.lanes {
		lc.lane.rows.forget(lc.upTo)
		lc.lane.committed = lc.upTo
		g.rows -= lc.rows
	}
	g.bytes, g.since = 0, time.Time{}
	if g.rows > 0 || len(g.pending) > 0 {
		g.since = g.now()
	}
}
