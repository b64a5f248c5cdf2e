package syncer

import (
	"fmt"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// checkpoints knows what was received and is in no commit plan yet. Each state ends
// a segment of the input; the rows of each stream are counted by segment, so it is
// known how many of them a state covers, and how many no state covers.
//
// It belongs to the goroutine that reads the input, except for the row counts, to
// which workers add. What it knows of each stream is in [Stream] (streams.go).
type checkpoints struct {
	streams Streams
	now     func() time.Time

	proofs             *proofs            // of completeness
	stateType          protocol.StateType // of all states; "" before the first
	sharedBefore       bool               // the last state of earlier syncs covers all streams; known at the end, if no state came
	allWait            bool               // every stream waits for the end of the input; see mustWait
	segment            int64              // number of the last one, which no state has ended
	noRecordSinceState bool               // no record has come since a state
	pending            []pendingState     // in order
	messages           *stateMessages     // of pending
	rows               int64              // of all streams, in no commit plan
	waitingRows        int64              // of these, rows that do not count for the limits; see takeCovered
	bytes              int64              // of the input since the last commit plan
	states             int64              // since the last commit plan, but for those that wait for the end
	clockStart         time.Time          // when the seconds of CommitLimits begin; zero: nothing is there to commit
	streamCompleted    bool               // a COMPLETE status has come since the last commit plan
	lastInput          time.Time          // when a record, a state or a status came
}

// A pendingState is a state that is in no commit plan yet, and the segment it ends.
type pendingState struct {
	message stateMessage
	stream  *Stream // of a STREAM state; nil: the state covers all streams
	segment int64

	received time.Time
}

// covers reports whether the state covers rows of the stream.
func (p pendingState) covers(s *Stream) bool { return p.stream == nil || p.stream == s }

func newCheckpoints(streams Streams, messages *stateMessages) *checkpoints {
	ids := make([]protocol.StreamID, len(streams.all))
	for i, s := range streams.all {
		ids[i] = s.ID
	}
	return &checkpoints{streams: streams, now: time.Now, proofs: newProofs(ids), segment: 1, messages: messages}
}

// addRecords counts a batch of records and returns the segment it belongs to.
func (c *checkpoints) addRecords(r *protocol.Records) (segment int64) {
	c.rows += r.Count
	c.addBytes(len(r.Data))
	c.noRecordSinceState = false
	return c.segment
}

// addStatus adds a stream's status. It reports whether the catalog has the stream.
func (c *checkpoints) addStatus(s protocol.StatusMessage) bool {
	c.streamCompleted = c.streamCompleted || s.Status == protocol.Complete
	c.lastInput = c.now()
	return c.proofs.addStatus(s)
}

func (c *checkpoints) addBytes(size int) {
	c.lastInput = c.now()
	if c.clockStart.IsZero() {
		c.clockStart = c.lastInput
	}
	c.bytes += int64(size)
}

// addState adds a state, which ends the open segment.
func (c *checkpoints) addState(state protocol.State) error {
	if c.stateType == "" {
		c.stateType = state.Type
		c.allWait = c.statesAreShared() && slices.ContainsFunc(c.streams.all, (*Stream).isCommittedAtEnd)
	}
	if state.Type != c.stateType {
		return &protocol.Error{Kind: protocol.SystemError, Message: fmt.Sprintf(
			"The input mixes %s and %s states. A source must keep to one kind in a sync.", c.stateType, state.Type)}
	}
	pending := pendingState{segment: c.segment, received: c.now()}
	covered := c.streams.all
	if state.Type == protocol.StreamState {
		stream, ok := c.streams.byID[state.Stream]
		if !ok {
			return unknownStream(state.Stream, "STATE")
		}
		pending.stream = stream
		covered = []*Stream{stream}
	}
	size := len(state.Raw)
	var err error
	if pending.message, err = c.messages.store(state); err != nil {
		return err
	}
	mayCommit := false
	for _, s := range covered {
		s.coveredUpTo = c.segment
		if !c.mustWait(s) {
			mayCommit = true
			c.waitingRows -= s.waitingRows
			s.waitingRows = 0
		}
	}
	c.pending = append(c.pending, pending)
	if mayCommit {
		c.states++
	}
	c.addBytes(size)
	c.segment++
	c.noRecordSinceState = true
	return nil
}

// idleAfterComplete is how long the input rests before a complete stream is committed:
// its rows become visible while the source waits for its API. Streams that follow each
// other without a rest are committed together.
const idleAfterComplete = 3 * time.Second

// isDue reports whether a commit is due: one of the limits is reached and no record has come
// since a state, or a stream is complete and nothing more comes for now, even if that is in
// the middle of another stream. Where states cover all streams there is no such commit: it
// would have none of them.
func (c *checkpoints) isDue(limits CommitLimits) bool {
	if c.noRecordSinceState && c.limitReached(limits) {
		return true
	}
	return c.streamCompleted && c.now().Sub(c.lastInput) >= idleAfterComplete && (c.noRecordSinceState || !c.statesAreShared())
}

// limitReached reports whether one of the limits is reached. Waiting rows do not count, or
// each state of another stream would make a commit of its own.
func (c *checkpoints) limitReached(limits CommitLimits) bool {
	rows, bytes := c.rows-c.waitingRows, c.bytes
	if rows >= limits.MaxRows || bytes >= limits.MaxMebibytes<<20 {
		tables := c.tablesWithRows()
		rows, bytes = rows/tables, bytes/tables
	}
	return rows >= limits.MaxRows ||
		bytes >= limits.MaxMebibytes<<20 ||
		c.states*stateBytes >= c.messages.limit ||
		!c.clockStart.IsZero() && c.now().Sub(c.clockStart) >= limits.maxAge()
}

// stateBytes is about what is held in memory of a state whose message is in a file.
const stateBytes = 700

// maxTables bounds for how many tables the input is gathered: until a commit, rows of
// many tables are in scratch.
const maxTables = 8

// tablesWithRows returns how many tables a commit would give rows, as far as they are
// decoded, from 1 to maxTables. A commit makes files and a snapshot of each table, so
// what comes for several is gathered for longer.
func (c *checkpoints) tablesWithRows() (n int64) {
	for _, s := range c.streams.all {
		if c.isCovered(s) && s.unplanned.any() {
			n++
		}
		if n == maxTables {
			break
		}
	}
	return max(n, 1)
}

// takeCovered moves every stream whose rows are all covered by its states into a
// commit plan, and starts to count for the limits again. Where states cover all streams,
// the plan has all of them or none: a state is echoed with the one plan that has all its
// streams. The workers must have decoded all records before.
func (c *checkpoints) takeCovered() *commitPlan {
	plan := &commitPlan{}
	for _, s := range c.streams.all {
		if c.isCovered(s) {
			plan.tables = append(plan.tables, c.planStream(s, s.coveredUpTo))
		}
	}
	if c.statesAreShared() && len(plan.tables) < len(c.streams.all) {
		plan.tables = nil
	}
	c.moveTo(plan)
	// What is left out does not count until addState finds that it can be committed.
	c.waitingRows = 0
	for _, s := range c.streams.all {
		s.waitingRows = s.unplanned.between(s.planned, c.segment)
		c.waitingRows += s.waitingRows
	}
	return plan
}

// isCovered reports whether a stream can be committed, and its states cover all its rows.
func (c *checkpoints) isCovered(s *Stream) bool {
	return !c.mustWait(s) && s.unplanned.between(s.coveredUpTo, c.segment) == 0
}

// mustWait reports whether a stream cannot be committed before its next state, or
// before the end of the input. A stream whose rows replace others all at once must wait
// for the end. Where states cover all streams, all streams wait with it: a state is
// echoed when all its streams are committed.
func (c *checkpoints) mustWait(s *Stream) bool {
	return s.coveredUpTo <= s.planned || s.isCommittedAtEnd() || c.allWait
}

// statesAreShared reports whether the states of the input cover all streams.
func (c *checkpoints) statesAreShared() bool {
	return c.stateType != "" && c.stateType != protocol.StreamState
}

// planStream returns one stream's part of a commit plan: its rows up to a segment.
func (c *checkpoints) planStream(s *Stream, upTo int64) *tableCommit {
	t := &tableCommit{stream: s, upTo: upTo, rows: s.unplanned.between(0, upTo)}
	for _, p := range c.pending {
		if p.covers(s) {
			t.state = p
		}
	}
	return t
}

// moveTo moves the states whose streams are all part of the plan into the plan,
// each with its number of rows. The plan's rows are planned from here on.
func (c *checkpoints) moveTo(plan *commitPlan) {
	in := map[*Stream]bool{}
	for _, t := range plan.tables {
		in[t.stream] = true
	}
	var stay []pendingState
	counted := map[*Stream]int64{} // the segment up to which its rows are in an echo
	for _, p := range c.pending {
		covered := c.streams.all
		if p.stream != nil {
			covered = []*Stream{p.stream}
		}
		if slices.ContainsFunc(covered, func(s *Stream) bool { return !in[s] }) {
			stay = append(stay, p)
			continue
		}
		var written int64
		for _, s := range covered {
			written += s.unplanned.between(max(counted[s], s.planned), p.segment)
			counted[s] = p.segment
		}
		plan.echoes = append(plan.echoes, echo{message: p.message, streams: covered, written: written, received: p.received})
	}
	c.pending = stay
	for _, t := range plan.tables {
		t.stream.unplanned.dropUpTo(t.upTo)
		t.stream.planned = t.upTo
		c.rows -= t.rows
	}
	c.bytes, c.states, c.clockStart, c.streamCompleted = 0, 0, time.Time{}, false
	if c.rows > 0 || len(c.pending) > 0 {
		c.clockStart = c.now()
	}
}
