package syncer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// FuzzCheckpoints plays any interleaving of records, states, statuses and commits of
// up to three streams, and an end, and compares the commit plans with a plain account
// of what came in.
func FuzzCheckpoints(f *testing.F) {
	f.Add([]byte{0, 0, 1, 9, 17, 1, 25, 33})
	f.Add([]byte{2, 0, 1, 2, 3, 9, 10, 11, 33, 1, 9, 41})
	f.Add([]byte{6, 0, 1, 9, 25, 33, 1, 9, 2, 10, 17, 18, 19})
	f.Add([]byte{18, 0, 1, 2, 9, 33, 3, 9, 33, 17, 18, 19})
	f.Add([]byte{162, 0, 1, 2, 9, 33, 3, 9, 33, 17, 18})
	f.Add([]byte{33, 0, 0, 1, 16, 1, 56, 49})
	f.Add([]byte{33, 1, 0, 1, 16, 56, 1, 33, 192, 16, 34})
	f.Add([]byte{1, 2, 0, 1, 32, 49})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) < 2 {
			return
		}
		checkBalance(t, data)
	})
}

// Random sequences find, without a fuzzer, what it would find first.
func TestCheckpointsBalance(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	for range 10000 {
		data := make([]byte, 2+random.Uint64()%30)
		if _, err := random.Read(data); err != nil {
			t.Fatal(err)
		}
		if checkBalance(t, data); t.Failed() {
			t.Fatalf("after %d", data)
		}
	}
}

// checkBalance plays what the bytes say.
func checkBalance(t *testing.T, data []byte) {
	a := newAccount(t, data[0], data[1])
	for _, b := range data[2:] {
		a.play(b)
	}
	end := inputEnded
	switch {
	case a.bad > 0:
		end = unreadable
	case data[0]&128 != 0:
		end = stoppedAtEnd
	case data[1]&4 != 0:
		end = stoppedEarly
	}
	a.checkEnd(end)
}

// account is what came in, and what the commit plans had.
type account struct {
	*testing.T
	checkpoints *checkpoints
	shared      protocol.StateType // of all states; "": they are of streams
	bad         int64              // the segment of the first bad record; 0: there is none

	rows      map[*Stream]int64 // received
	committed map[*Stream]int64 // given out to be committed
	states    []accountedState
}

type accountedState struct {
	streams []*Stream
	before  map[*Stream]int64 // rows of its streams received before it
	echoed  bool
}

// newAccount sets up what a byte says: 1 to 3 streams, which of them are in
// overwrite mode or refreshed, on a branch or at the end, and whether states cover all of
// them. Another byte says which type those have, and whether the states of earlier syncs did so.
func newAccount(t *testing.T, setup, states byte) *account {
	streams := Streams{byID: map[protocol.StreamID]*Stream{}}
	for i := range min(int(setup&3)+1, 3) {
		mode := protocol.Append
		chosen, refreshes := setup>>2&(1<<i) != 0, setup&64 != 0
		if chosen && !refreshes {
			mode = protocol.Overwrite
		}
		stream := &Stream{ID: protocol.StreamID{Name: string(rune('a' + i))}, configured: protocol.ConfiguredStream{DestinationSyncMode: mode}}
		if stream.begun = (lake.Begun{Refreshing: chosen && refreshes, AtEnd: chosen && refreshes && setup&3 == 3}); stream.begun.Refreshing {
			stream.configured.GenerationID = new(int64)
		}
		streams.all = append(streams.all, stream)
		streams.byID[stream.ID] = stream
	}
	messages := &stateMessages{limit: 64} // few of them are in memory
	t.Cleanup(func() {
		if err := messages.close(); err != nil {
			t.Error(err)
		}
	})
	a := &account{T: t, checkpoints: newCheckpoints(streams, messages), rows: map[*Stream]int64{}, committed: map[*Stream]int64{}}
	a.checkpoints.sharedBefore = states&2 != 0
	if setup&32 != 0 {
		a.shared = []protocol.StateType{protocol.GlobalState, protocol.LegacyState}[states&1]
	}
	return a
}

func (a *account) play(b byte) {
	stream := a.checkpoints.streams.all[int(b&7)%len(a.checkpoints.streams.all)]
	switch b >> 3 & 7 {
	case 0, 1: // records, decoded by two workers
		segment := a.checkpoints.addRecords(&protocol.Records{Data: []byte("1\n2\n3\n"), Count: 3})
		if b >= 192 && a.bad == 0 { // a worker finds later that the last of them is bad
			a.bad = segment
		}
		stream.unplanned.addRows(segment, 1)
		stream.unplanned.addRows(segment, 2)
		a.rows[stream] += 3
	case 2, 3:
		a.state(stream)
	case 4:
		a.checkpoints.proofs.addStatus(protocol.StatusMessage{Stream: stream.ID, Status: protocol.Complete})
	case 5:
		a.checkpoints.proofs.addStatus(protocol.StatusMessage{Stream: stream.ID, Status: protocol.Running})
	case 6:
		a.checkpoints.proofs.addStatus(protocol.StatusMessage{Stream: stream.ID, Status: protocol.Incomplete})
	case 7: // also after a record that no state covers, as at the end of the input
		if a.bad > 0 {
			return // which is found before a commit
		}
		plan := a.checkpoints.takeCovered()
		for _, t := range plan.tables {
			if t.replace || t.finishRefresh || t.stream.isCommittedAtEnd() {
				a.Errorf("stream %s is replaced before its end", t.stream.ID)
			}
			if got, want := a.committed[t.stream]+t.rows, a.covered(t.stream); got != want {
				a.Errorf("stream %s: %d rows are committed, its states cover %d", t.stream.ID, got, want)
			}
		}
		a.checkPlan(plan)
		if a.checkpoints.limitReached(CommitLimits{MaxRows: 1, MaxMebibytes: 1, MaxSeconds: 3600}) {
			a.Errorf("what a commit left makes the next one due (%s)", a)
		}
	}
	if c := a.checkpoints; c.waitingRows < 0 || c.waitingRows > c.rows {
		a.Errorf("%d of %d rows wait (%s)", c.waitingRows, c.rows, a)
	}
}

func (a *account) state(stream *Stream) {
	s := protocol.State{Type: protocol.StreamState, Stream: stream.ID, Raw: fmt.Appendf(nil, `{"n":%d}`, len(a.states))}
	of := []*Stream{stream}
	if a.shared != "" {
		s.Type, s.Stream, of = a.shared, protocol.StreamID{}, a.checkpoints.streams.all
	}
	if a.bad == 0 { // otherwise it covers nothing
		before := map[*Stream]int64{}
		for _, stream := range of {
			before[stream] = a.rows[stream]
		}
		a.states = append(a.states, accountedState{streams: of, before: before})
	}
	if err := a.checkpoints.addState(s); err != nil {
		a.Fatal(err)
	}
	for _, stream := range of {
		if !a.checkpoints.mustWait(stream) && stream.waitingRows > 0 {
			a.Errorf("stream %s: %d rows wait, and its state covers all (%s)", stream.ID, stream.waitingRows, a)
		}
	}
}

// covered returns the number of rows of a stream that its last state covers.
func (a *account) covered(stream *Stream) (rows int64) {
	for _, s := range a.states {
		if slices.Contains(s.streams, stream) {
			rows = s.before[stream]
		}
	}
	return rows
}

// checkPlan checks what must be true of every commit plan.
func (a *account) checkPlan(plan *commitPlan) {
	for _, t := range plan.tables {
		a.committed[t.stream] += t.rows
		if a.committed[t.stream] > a.rows[t.stream] {
			a.Errorf("stream %s: %d rows are committed, %d came", t.stream.ID, a.committed[t.stream], a.rows[t.stream])
		}
		// The table keeps the last state of its rows.
		last := -1
		for n, s := range a.states {
			if slices.Contains(s.streams, t.stream) && !s.echoed {
				last = n
			}
		}
		kept := -1
		if t.state.segment > 0 {
			kept = a.numberOf(t.state.message)
		}
		if kept != last || last >= 0 && a.states[last].before[t.stream] > a.committed[t.stream] {
			a.Errorf("stream %s: its table keeps state %d, want %d", t.stream.ID, kept, last)
		}
	}
	for _, e := range plan.echoes {
		a.checkEcho(e)
		if err := a.checkpoints.messages.drop(e.message); err != nil {
			a.Fatal(err)
		}
	}
}

// checkEcho checks that a state is echoed once, in order, after its rows, with their
// number.
func (a *account) checkEcho(e echo) {
	n := a.numberOf(e.message)
	s := &a.states[n]
	if s.echoed {
		a.Errorf("state %d comes back twice", n)
	}
	s.echoed = true
	written := int64(0)
	for _, stream := range s.streams {
		if a.committed[stream] < s.before[stream] {
			a.Errorf("state %d comes back after %d rows of stream %s, it covers %d", n, a.committed[stream], stream.ID, s.before[stream])
		}
		previous := int64(0)
		for i, other := range a.states {
			switch {
			case i == n || !slices.Contains(other.streams, stream):
			case i < n && !other.echoed:
				a.Errorf("state %d of stream %s comes back before state %d", n, stream.ID, i)
			case i < n:
				previous = other.before[stream]
			case other.echoed:
				a.Errorf("state %d of stream %s comes back after state %d", n, stream.ID, i)
			}
		}
		written += s.before[stream] - previous
	}
	if e.written != written {
		a.Errorf("state %d counts %d rows, it covers %d", n, e.written, written)
	}
}

func (a *account) numberOf(s stateMessage) int {
	whole, err := a.checkpoints.messages.load(s)
	var of struct{ N int }
	if err = errors.Join(err, json.Unmarshal(whole.Raw, &of)); err != nil {
		a.Fatal(err)
	}
	if of.N >= len(a.states) {
		a.Fatal("a state that came after a bad record is committed")
	}
	return of.N
}

// checkEnd ends the input and checks the balance.
func (a *account) checkEnd(end inputEnd) {
	if a.bad > 0 {
		a.checkpoints.dropStatesFrom(a.bad)
	}
	plan, decisions := a.checkpoints.takeFinal(StateHint, end)
	keep := map[*Stream]keepRows{}
	for _, v := range decisions {
		keep[v.stream] = v.keep
	}
	a.checkKept(keep, end)
	for _, t := range plan.tables {
		if t.replace != t.stream.isOverwrite() || t.replace && keep[t.stream] != keepAll {
			a.Errorf("stream %s: replaced %t, its decision %d", t.stream.ID, t.replace, keep[t.stream])
		}
		if t.finishRefresh != (t.stream.begun.Refreshing && keep[t.stream] == keepAll) {
			a.Errorf("stream %s: its refresh finished %t, its decision %d", t.stream.ID, t.finishRefresh, keep[t.stream])
		}
	}
	for _, stream := range a.checkpoints.streams.all {
		if stream.begun.Refreshing && keep[stream] == keepAll && !a.checkpoints.proofs.of(stream.ID).complete() {
			a.Errorf("the refresh of stream %s is taken for complete without its status", stream.ID)
		}
	}
	a.checkPlan(plan)
	// States that cover all streams are committed only if all replacements are.
	waits := false
	for _, stream := range a.checkpoints.streams.all {
		waits = waits || a.shared != "" && len(a.states) > 0 && stream.isCommittedAtEnd() && keep[stream] != keepAll
	}
	for _, stream := range a.checkpoints.streams.all {
		want := map[keepRows]int64{keepNothing: 0, keepCovered: a.covered(stream), keepAll: a.rows[stream]}[keep[stream]]
		if waits && !(stream.isCommittedAtEnd() && keep[stream] == keepAll) {
			want = 0
		}
		if a.committed[stream] != want {
			a.Errorf("stream %s: %d of %d rows are committed, want %d (%s)", stream.ID, a.committed[stream], a.rows[stream], want, a)
		}
	}
	for n, s := range a.states {
		lost := slices.ContainsFunc(s.streams, func(stream *Stream) bool { return keep[stream] == keepNothing })
		if s.echoed == lost {
			a.Errorf("state %d: came back %t (%s)", n, s.echoed, a)
		}
	}
}

// checkKept checks that complete streams are kept. Where states cover all streams, rows after the
// last one are kept of all streams or of none, but for those that are replaced again.
func (a *account) checkKept(keep map[*Stream]keepRows, end inputEnd) {
	shared := a.shared != "" && a.checkpoints.stateType != "" || a.checkpoints.sharedBefore
	all, proven := true, end == inputEnded || end == stoppedAtEnd
	for _, stream := range a.checkpoints.streams.all {
		all = all && keep[stream] == keepAll
		proven = proven && a.checkpoints.proofs.of(stream.ID).complete()
	}
	if proven && !all {
		a.Errorf("all streams are COMPLETE, and not all are kept (%s)", a)
	}
	for _, stream := range a.checkpoints.streams.all {
		rows := a.rows[stream] - a.covered(stream)
		complete := a.checkpoints.proofs.of(stream.ID).complete() && end != unreadable && (end != stoppedEarly || rows == 0 || stream.isCommittedAtEnd())
		if held := shared && !all && rows > 0 && !stream.isOverwrite(); complete && held == (keep[stream] == keepAll) {
			a.Errorf("stream %s is COMPLETE, with %d rows after the last state, and its decision is %d (%s)", stream.ID, rows, keep[stream], a)
		} else if held && keep[stream] == keepAll {
			a.Errorf("stream %s: %d rows after the last state of all streams are kept, and not all of another (%s)", stream.ID, rows, a)
		}
	}
}

func (a *account) String() string {
	text := fmt.Sprintf("states of all streams %q, before %t", a.shared, a.checkpoints.sharedBefore)
	for _, stream := range a.checkpoints.streams.all {
		text += fmt.Sprintf("; %s %s %s, %+v", stream.ID, stream.configured.DestinationSyncMode, a.checkpoints.proofs.of(stream.ID).status, stream.begun)
	}
	return text
}
