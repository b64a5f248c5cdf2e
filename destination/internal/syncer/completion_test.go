package syncer

import (
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

var sleepStream = protocol.StreamID{Name: "sleep"}

// An event is something that the input says of its completeness.
type event struct {
	name string
	add  func(*proofs)
}

var events = []event{
	{"STARTED", func(p *proofs) { p.addStatus(protocol.StatusMessage{Stream: sleepStream, Status: protocol.Started}) }},
	{"COMPLETE", func(p *proofs) { p.addStatus(protocol.StatusMessage{Stream: sleepStream, Status: protocol.Complete}) }},
	{"INCOMPLETE", func(p *proofs) {
		p.addStatus(protocol.StatusMessage{Stream: sleepStream, Status: protocol.Incomplete})
	}},
	{"a status of another stream", func(p *proofs) {
		p.addStatus(protocol.StatusMessage{Stream: protocol.StreamID{Name: "workout"}, Status: protocol.Complete})
	}},
	{"a status of a stream that the catalog does not have", func(p *proofs) {
		p.addStatus(protocol.StatusMessage{Stream: protocol.StreamID{Name: "nap"}, Status: protocol.Complete})
	}},
	{"an ERROR of the stream", func(p *proofs) { p.addFailure(protocol.SourceFailure{Stream: &sleepStream, Message: "of the stream"}) }},
	{"an ERROR of another stream", func(p *proofs) {
		p.addFailure(protocol.SourceFailure{Stream: &protocol.StreamID{Name: "workout"}, Message: "of another"})
	}},
	{"an ERROR of a stream that the catalog does not have", func(p *proofs) {
		p.addFailure(protocol.SourceFailure{Stream: &protocol.StreamID{Name: "nap"}, Message: "of nobody's"})
	}},
	{"an ERROR of no stream", func(p *proofs) { p.addFailure(protocol.SourceFailure{Message: "of all"}) }},
}

// outcome is what a sequence of events means. Their order does not matter, but the last terminal status
// counts.
type outcome struct{ statuses, complete, incomplete, failed bool }

func play(sequence []event) (*proofs, outcome) {
	p := newProofs([]protocol.StreamID{sleepStream, {Name: "workout"}})
	var w outcome
	sourceFailed := false
	for _, e := range sequence {
		e.add(p)
		w.statuses = w.statuses || !strings.Contains(e.name, "ERROR")
		switch e.name {
		case "COMPLETE":
			w.complete, w.incomplete = true, false
		case "INCOMPLETE":
			w.complete, w.incomplete = false, true
		case "an ERROR of the stream":
			w.failed = true
		case "an ERROR of no stream", "an ERROR of a stream that the catalog does not have":
			sourceFailed = true
		}
	}
	if sourceFailed && !w.complete {
		w.failed = true
	}
	w.complete = w.complete && !w.failed
	return p, w
}

// sequences are all of up to three events.
func sequences() [][]event {
	all := [][]event{nil}
	for from := 0; len(all[from]) < 3; from++ {
		for _, e := range events {
			all = append(all, append(all[from][:len(all[from]):len(all[from])], e))
		}
	}
	return all
}

// Every combination of what the input says, how it ends, what the catalog and the states say and what the user
// has chosen.
func TestCompletion(t *testing.T) {
	combinations := 0
	bools := []bool{false, true}
	for _, sequence := range sequences() {
		p, w := play(sequence)
		for _, input := range []inputEnd{inputEnded, stoppedAtEnd, stoppedEarly, unreadable} {
			for _, kind := range []string{"append", "refresh", "refresh at the end", "overwrite"} {
				for _, generations := range bools {
					for _, states := range []string{"none", "earlier", "now"} {
						for _, uncovered := range []int64{0, 3} {
							for _, heard := range bools {
								if !heard && (states == "now" || uncovered > 0 || p.statuses) {
									continue
								}
								for _, c := range []Completion{Strict, StateHint, EndOfInput} {
									e := streamEnd{
										proof: p.of(sleepStream), input: input, heard: heard, statuses: p.statuses, generations: generations,
										hasStates: states == "now", continues: states != "none", hasRecords: heard, uncovered: uncovered,
										committedAtEnd: kind == "overwrite" || kind == "refresh at the end", refreshing: kind == "refresh" || kind == "refresh at the end",
									}
									combinations++
									got := c.decide(sleepStream, e)
									keep, fails, assumes := expected(w, e, kind, c)
									if got.keep != keep || (got.err != nil) != fails || (got.warning != "") != assumes {
										t.Fatalf("%v, end %d, %s, generations %t, heard %t, states %s, %d uncovered, %s: keeps %d, %v, %q; want %d, failure %t, assumption %t",
											names(sequence), input, kind, generations, heard, states, uncovered, c, got.keep, got.err, got.warning, keep, fails, assumes)
									}
								}
							}
						}
					}
				}
			}
		}
	}
	t.Logf("%d combinations", combinations)
}

// expected is what docs/destination.md says.
func expected(w outcome, e streamEnd, kind string, c Completion) (keep keepRows, fails, assumes bool) {
	part := keepCovered
	if e.committedAtEnd {
		part = keepNothing
	}
	switch {
	case e.input == unreadable: // the run fails with what is broken
		return part, false, false
	case w.complete && e.input == stoppedEarly && !e.committedAtEnd && e.uncovered > 0: // the run fails as interrupted
		return part, false, false
	case w.complete:
		return keepAll, false, false
	case w.failed, w.incomplete:
		return part, true, false
	case e.input == stoppedEarly, e.input == stoppedAtEnd: // the run fails as interrupted
		return part, false, false
	case w.statuses, c == Strict:
		return part, true, false
	case kind == "append" && e.uncovered == 0:
		return keepAll, false, false
	case c == EndOfInput:
		if !e.heard {
			return part, true, false
		}
		return keepAll, false, false
	case kind == "append" && !e.continues, kind != "append" && e.hasStates && e.uncovered == 0 && !e.generations:
		return keepAll, false, true
	}
	return part, true, false
}

func names(sequence []event) (names []string) {
	for _, e := range sequence {
		names = append(names, e.name)
	}
	return names
}

// The advice to take the end of the input as proof is for a source that works and sends no statuses, not for one that
// has just failed.
func TestTheEndAsProofIsAdvisedToThoseItHelps(t *testing.T) {
	for name, tt := range map[string]struct {
		end  streamEnd
		want bool
	}{
		"records and no status": {streamEnd{hasRecords: true, committedAtEnd: true}, true},
		"no records":            {streamEnd{committedAtEnd: true}, false},
		"a failure":             {streamEnd{hasRecords: true, committedAtEnd: true, proof: proof{failure: "no"}}, false},
		"statuses":              {streamEnd{hasRecords: true, committedAtEnd: true, statuses: true}, false},
	} {
		err := Strict.decide(sleepStream, tt.end).err
		if err == nil || strings.Contains(err.Error(), `"completion":"eof"`) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
