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
	tell func(*proofs)
}

var events = []event{
	{"STARTED", func(p *proofs) { p.status(protocol.StatusMessage{Stream: sleepStream, Status: protocol.Started}) }},
	{"COMPLETE", func(p *proofs) { p.status(protocol.StatusMessage{Stream: sleepStream, Status: protocol.Complete}) }},
	{"INCOMPLETE", func(p *proofs) { p.status(protocol.StatusMessage{Stream: sleepStream, Status: protocol.Incomplete}) }},
	{"a status of another stream", func(p *proofs) {
		p.status(protocol.StatusMessage{Stream: protocol.StreamID{Name: "workout"}, Status: protocol.Complete})
	}},
	{"a status of a stream that the catalog does not have", func(p *proofs) {
		p.status(protocol.StatusMessage{Stream: protocol.StreamID{Name: "nap"}, Status: protocol.Complete})
	}},
	{"an ERROR of the stream", func(p *proofs) { p.fail(protocol.SourceFailure{Stream: &sleepStream, Message: "of the stream"}) }},
	{"an ERROR of another stream", func(p *proofs) {
		p.fail(protocol.SourceFailure{Stream: &protocol.StreamID{Name: "workout"}, Message: "of another"})
	}},
	{"an ERROR of a stream that the catalog does not have", func(p *proofs) {
		p.fail(protocol.SourceFailure{Stream: &protocol.StreamID{Name: "nap"}, Message: "of nobody's"})
	}},
	{"an ERROR of no stream", func(p *proofs) { p.fail(protocol.SourceFailure{Message: "of all"}) }},
}

// told is what the events amount to, put plainly: in any order but that of the terminal statuses, of which
// the last counts.
type told struct{ statuses, complete, incomplete, failed bool }

func tell(sequence []event) (*proofs, told) {
	p := newProofs([]protocol.StreamID{sleepStream, {Name: "workout"}})
	var w told
	sourceFailed := false
	for _, e := range sequence {
		e.tell(p)
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
		p, w := tell(sequence)
		for _, input := range []inputEnd{ended, stoppedAt, interrupted, broken} {
			for _, kind := range []string{"append", "refresh", "overwrite"} {
				for _, generations := range bools {
					for _, states := range bools {
						for _, uncovered := range []int64{0, 3} {
							for _, heard := range bools {
								if !heard && (states || uncovered > 0 || p.statuses) {
									continue
								}
								for _, c := range []Completion{Strict, StateHint, EndOfInput} {
									e := streamEnd{
										proof: p.of(sleepStream), input: input, heard: heard, statuses: p.statuses, generations: generations,
										states: states, records: heard, uncovered: uncovered,
										replacesRows: kind == "overwrite", refreshes: kind == "refresh",
									}
									combinations++
									got := c.decide(sleepStream, e)
									keep, fails, assumes := expected(w, e, kind, c)
									if got.keep != keep || (got.err != nil) != fails || (got.warning != "") != assumes {
										t.Fatalf("%v, end %d, %s, generations %t, heard %t, states %t, %d uncovered, %s: keeps %d, %v, %q; want %d, failure %t, assumption %t",
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
func expected(w told, e streamEnd, kind string, c Completion) (keep keepRows, fails, assumes bool) {
	part := toState
	if kind == "overwrite" {
		part = nothing
	}
	switch {
	case e.input == broken: // the run fails with what is broken
		return part, false, false
	case w.complete && e.input == interrupted && kind != "overwrite" && e.uncovered > 0: // the run fails as interrupted
		return part, false, false
	case w.complete:
		return everything, false, false
	case w.failed, w.incomplete:
		return part, true, false
	case e.input == interrupted, e.input == stoppedAt: // the run fails as interrupted
		return part, false, false
	case w.statuses, c == Strict:
		return part, true, false
	case kind == "append" && e.uncovered == 0:
		return everything, false, false
	case c == EndOfInput:
		if !e.heard {
			return part, true, false
		}
		return everything, false, false
	case kind == "append" && !e.states, kind != "append" && e.states && e.uncovered == 0 && !e.generations:
		return everything, false, true
	}
	return part, true, false
}

func names(sequence []event) (names []string) {
	for _, e := range sequence {
		names = append(names, e.name)
	}
	return names
}

// Taking the end for proof is advice for a source that works and sends no statuses, not for one that has just failed.
func TestTheEndAsProofIsAdvisedToThoseItHelps(t *testing.T) {
	for name, tt := range map[string]struct {
		end  streamEnd
		want bool
	}{
		"records and no status": {streamEnd{records: true, replacesRows: true}, true},
		"no records":            {streamEnd{replacesRows: true}, false},
		"a failure":             {streamEnd{records: true, replacesRows: true, proof: proof{failure: "no"}}, false},
		"statuses":              {streamEnd{records: true, replacesRows: true, statuses: true}, false},
	} {
		err := Strict.decide(sleepStream, tt.end).err
		if err == nil || strings.Contains(err.Error(), `"completion":"eof"`) != tt.want {
			t.Errorf("%s: %v", name, err)
		}
	}
}
