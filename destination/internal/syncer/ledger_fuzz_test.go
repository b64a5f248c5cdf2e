package syncer

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// FuzzLedger plays any interleaving of records, states, statuses and commits of
// up to three streams, and its end, and holds what the ledger gives out against
// a plain account of what came in.
func FuzzLedger(f *testing.F) {
	f.Add([]byte{0, 1, 9, 17, 1, 25, 33})
	f.Add([]byte{2, 1, 2, 3, 9, 10, 11, 33, 1, 9, 41})
	f.Add([]byte{6, 1, 9, 25, 33, 1, 9, 2, 10, 17, 18, 19})
	f.Add([]byte{18, 1, 2, 9, 33, 3, 9, 33, 17, 18, 19})
	f.Add([]byte{162, 1, 2, 9, 33, 3, 9, 33, 17, 18})
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) == 0 {
			return
		}
		balance(t, data)
	})
}

// Random sequences show without a fuzzer what it would find first.
func TestLedgerBalances(t *testing.T) {
	random := rand.NewChaCha8([32]byte{})
	for range 5000 {
		data := make([]byte, 1+random.Uint64()%30)
		if _, err := random.Read(data); err != nil {
			t.Fatal(err)
		}
		if balance(t, data); t.Failed() {
			t.Fatalf("after %d", data)
		}
	}
}

// balance plays what the bytes say.
func balance(t *testing.T, data []byte) {
	a := newAccount(t, data[0])
	for _, b := range data[1:] {
		a.step(b)
	}
	a.end(data[0]&128 != 0)
}

// account is what a ledger was told and what it has given out.
type account struct {
	*testing.T
	ledger *ledger
	global bool // states are GLOBAL

	rows      map[*Stream]int64 // received
	committed map[*Stream]int64 // given out to be committed
	states    []accountedState
}

type accountedState struct {
	lanes  []*Stream
	before map[*Stream]int64 // rows of its lanes received before it
	echoed bool
}

// newAccount sets up what a byte says: 1 to 3 streams, those that overwrite or
// are refreshed, and the kind of states.
func newAccount(t *testing.T, setup byte) *account {
	ls := Streams{byID: map[protocol.StreamID]*Stream{}}
	for i := range int(setup&3)%3 + 1 {
		mode := protocol.Append
		chosen, refreshes := setup>>2&(1<<i) != 0, setup&64 != 0
		if chosen && !refreshes {
			mode = protocol.Overwrite
		}
		l := &Stream{ID: protocol.StreamID{Name: string(rune('a' + i))}, stream: protocol.ConfiguredStream{DestinationSyncMode: mode}, refreshes: chosen && refreshes}
		if l.refreshes {
			l.stream.GenerationID = new(int64)
		}
		ls.all = append(ls.all, l)
		ls.byID[l.ID] = l
	}
	held := &heldStates{limit: 64} // few of them are in memory
	t.Cleanup(func() {
		if err := held.close(); err != nil {
			t.Error(err)
		}
	})
	return &account{T: t, ledger: newLedger(ls, held), global: setup&32 != 0, rows: map[*Stream]int64{}, committed: map[*Stream]int64{}}
}

func (a *account) step(b byte) {
	l := a.ledger.lanes.all[int(b&7)%len(a.ledger.lanes.all)]
	switch b >> 3 & 7 {
	case 0, 1: // records, decoded by two workers
		segment := a.ledger.records(&protocol.Records{Data: []byte("1\n2\n3\n")})
		l.rows.add(segment, 1)
		l.rows.add(segment, 2)
		a.rows[l] += 3
	case 2, 3:
		a.state(l)
	case 4:
		a.ledger.proofs.status(protocol.StatusMessage{Stream: l.ID, Status: protocol.Complete})
	case 5:
		a.ledger.proofs.status(protocol.StatusMessage{Stream: l.ID, Status: protocol.Running})
	case 6:
		a.ledger.proofs.status(protocol.StatusMessage{Stream: l.ID, Status: protocol.Incomplete})
	case 7:
		if !a.ledger.atState { // when nobody cuts
			return
		}
		c := a.ledger.cut()
		for _, lc := range c.lanes {
			if lc.replace || lc.finish || lc.lane.Replaces() {
				a.Errorf("stream %s is replaced before its end", lc.lane.ID)
			}
			if got, want := a.committed[lc.lane]+lc.rows, a.covered(lc.lane); got != want {
				a.Errorf("stream %s: %d rows are committed, its states cover %d", lc.lane.ID, got, want)
			}
		}
		a.take(c)
	}
}

func (a *account) state(l *Stream) {
	s := protocol.State{Type: protocol.StreamState, Stream: l.ID, Raw: fmt.Appendf(nil, `{"n":%d}`, len(a.states))}
	of := []*Stream{l}
	if a.global {
		s.Type, s.Stream, of = protocol.GlobalState, protocol.StreamID{}, a.ledger.lanes.all
	}
	before := map[*Stream]int64{}
	for _, l := range of {
		before[l] = a.rows[l]
	}
	a.states = append(a.states, accountedState{lanes: of, before: before})
	if err := a.ledger.state(s); err != nil {
		a.Fatal(err)
	}
}

// covered counts the rows of a stream that its last state covers.
func (a *account) covered(l *Stream) (rows int64) {
	for _, s := range a.states {
		if slices.Contains(s.lanes, l) {
			rows = s.before[l]
		}
	}
	return rows
}

// take checks what must be true of every commit.
func (a *account) take(c *commit) {
	for _, lc := range c.lanes {
		a.committed[lc.lane] += lc.rows
		if a.committed[lc.lane] > a.rows[lc.lane] {
			a.Errorf("stream %s: %d rows are committed, %d came", lc.lane.ID, a.committed[lc.lane], a.rows[lc.lane])
		}
		// The table keeps the last state of its rows.
		last := -1
		for n, s := range a.states {
			if slices.Contains(s.lanes, lc.lane) && !s.echoed {
				last = n
			}
		}
		kept := -1
		if lc.state.segment > 0 {
			kept = a.number(lc.state.state)
		}
		if kept != last || last >= 0 && a.states[last].before[lc.lane] > a.committed[lc.lane] {
			a.Errorf("stream %s: its table keeps state %d, want %d", lc.lane.ID, kept, last)
		}
	}
	for _, e := range c.echoes {
		a.echo(e)
		if err := a.ledger.held.release(e.state); err != nil {
			a.Fatal(err)
		}
	}
}

// echo checks a state that comes back: once, in order, after its rows, with
// their number.
func (a *account) echo(e echo) {
	n := a.number(e.state)
	s := &a.states[n]
	if s.echoed {
		a.Errorf("state %d comes back twice", n)
	}
	s.echoed = true
	written := int64(0)
	for _, l := range s.lanes {
		if a.committed[l] < s.before[l] {
			a.Errorf("state %d comes back after %d rows of stream %s, it covers %d", n, a.committed[l], l.ID, s.before[l])
		}
		previous := int64(0)
		for i, other := range a.states {
			switch {
			case i == n || !slices.Contains(other.lanes, l):
			case i < n && !other.echoed:
				a.Errorf("state %d of stream %s comes back before state %d", n, l.ID, i)
			case i < n:
				previous = other.before[l]
			case other.echoed:
				a.Errorf("state %d of stream %s comes back after state %d", n, l.ID, i)
			}
		}
		written += s.before[l] - previous
	}
	if e.written != written {
		a.Errorf("state %d counts %d rows, it covers %d", n, e.written, written)
	}
}

func (a *account) number(s heldState) int {
	whole, err := a.ledger.held.whole(s)
	var of struct{ N int }
	if err = errors.Join(err, json.Unmarshal(whole.Raw, &of)); err != nil {
		a.Fatal(err)
	}
	return of.N
}

// end ends the input, or interrupts it, and checks the balance.
func (a *account) end(interrupted bool) {
	end := ended
	if interrupted {
		end = stoppedAt
	}
	c, decisions := a.ledger.finish(StateHint, end)
	keep := map[*Stream]keepRows{}
	for _, v := range decisions {
		keep[v.lane] = v.keep
		if a.ledger.proofs.of(v.lane.ID).complete() && v.keep != everything {
			a.Errorf("stream %s is COMPLETE and not kept", v.lane.ID)
		}
	}
	for _, lc := range c.lanes {
		if lc.replace != lc.lane.Replaces() || lc.replace && keep[lc.lane] != everything {
			a.Errorf("stream %s: replaced %t, its decision %d", lc.lane.ID, lc.replace, keep[lc.lane])
		}
		if lc.finish != (lc.lane.refreshes && keep[lc.lane] == everything) {
			a.Errorf("stream %s: its refresh finished %t, its decision %d", lc.lane.ID, lc.finish, keep[lc.lane])
		}
	}
	for _, l := range a.ledger.lanes.all {
		if l.refreshes && keep[l] == everything && !a.ledger.proofs.of(l.ID).complete() {
			a.Errorf("the refresh of stream %s is taken for complete without its status", l.ID)
		}
	}
	a.take(c)
	// States of all streams stand and fall with the streams that are replaced.
	blocked := false
	for _, l := range a.ledger.lanes.all {
		blocked = blocked || a.global && len(a.states) > 0 && l.Replaces() && keep[l] != everything
	}
	for _, l := range a.ledger.lanes.all {
		want := map[keepRows]int64{nothing: 0, toState: a.covered(l), everything: a.rows[l]}[keep[l]]
		if blocked && !(l.Replaces() && keep[l] == everything) {
			want = 0
		}
		if a.committed[l] != want {
			a.Errorf("stream %s: %d of %d rows are committed, want %d (%s)", l.ID, a.committed[l], a.rows[l], want, a)
		}
	}
	for n, s := range a.states {
		lost := slices.ContainsFunc(s.lanes, func(l *Stream) bool { return keep[l] == nothing })
		if s.echoed == lost {
			a.Errorf("state %d: came back %t (%s)", n, s.echoed, a)
		}
	}
}

func (a *account) String() string {
	text := fmt.Sprintf("GLOBAL %t", a.global)
	for _, l := range a.ledger.lanes.all {
		text += fmt.Sprintf("; %s %s %s, refreshed %t", l.ID, l.stream.DestinationSyncMode, a.ledger.proofs.of(l.ID).status, l.refreshes)
	}
	return text
}
