package syncer

import (
	"fmt"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Completion says what proves that a source has sent all of a stream.
type Completion string

const (
	// Strict takes a COMPLETE status alone.
	Strict Completion = "strict"
	// StateHint also takes a STATE as the last message of the stream, where the
	// input has no statuses at all.
	StateHint Completion = "state_hint"
	// EndOfInput also takes the end of the input, where it has no statuses at all.
	EndOfInput Completion = "eof"
)

// proofs is what the input says of its completeness: every status and every failure
// of the source. Those of streams that are not in the catalog matter, too: where
// statuses are sent, a missing one says something.
type proofs struct {
	statuses bool   // some stream had a status
	failure  string // of the source, in its own words, not of a stream of the catalog; "": none
	streams  map[protocol.StreamID]proof
}

// proof is what the input says of one stream.
type proof struct {
	status  protocol.StreamStatus // COMPLETE or INCOMPLETE; "": neither came
	failure string                // in the source's own words; "": none
}

func newProofs(streams []protocol.StreamID) *proofs {
	p := &proofs{streams: map[protocol.StreamID]proof{}}
	for _, id := range streams {
		p.streams[id] = proof{}
	}
	return p
}

// addStatus adds a stream's status. It reports whether the catalog has the stream.
func (p *proofs) addStatus(s protocol.StatusMessage) bool {
	p.statuses = true
	known, ok := p.streams[s.Stream]
	if ok && (s.Status == protocol.Complete || s.Status == protocol.Incomplete) {
		known.status = s.Status
		p.streams[s.Stream] = known
	}
	return ok
}

// addFailure adds a failure of the source, or of one of its streams. The first
// failure counts, as it caused those that follow.
func (p *proofs) addFailure(f protocol.SourceFailure) {
	if f.Stream != nil {
		if known, ok := p.streams[*f.Stream]; ok {
			if known.failure == "" {
				known.failure = f.Message
			}
			p.streams[*f.Stream] = known
			return
		}
	}
	if p.failure == "" {
		p.failure = f.Message
	}
}

// of returns the proof of one stream. A failure of the source as a whole says
// nothing against a stream that is complete.
func (p *proofs) of(id protocol.StreamID) proof {
	known := p.streams[id]
	if known.failure == "" && known.status != protocol.Complete {
		known.failure = p.failure
	}
	return known
}

// complete reports whether the stream has a COMPLETE status and no failure.
func (p proof) complete() bool { return p.status == protocol.Complete && p.failure == "" }

// An inputEnd is the reason why no more is read.
type inputEnd int

const (
	inputEnded   inputEnd = iota // the input has ended
	stoppedAtEnd                 // it has ended, and a signal came that may have stopped the source, too
	stoppedEarly                 // a signal came before its end
	unreadable                   // it cannot be read further, so nobody knows what came next
)

// A streamEnd is what is known of a stream when no more is read.
type streamEnd struct {
	proof
	input          inputEnd
	heard          bool  // the input had a record, a state or a status of some stream
	statuses       bool  // the input had a status of some stream
	generations    bool  // the catalog has generation ids, so its author also sends statuses
	hasStates      bool  // the stream had a STATE
	continues      bool  // its source continues where it was: the stream had a STATE, now or in an earlier sync, or could expect one
	hasRecords     bool  // it had a record, or a state that is in a commit plan
	uncovered      int64 // its records after its last STATE
	committedAtEnd bool  // to take half of the stream for all of it would lose rows, and nothing of it is kept
	refreshing     bool  // the same for rows of older generations, but what states cover is kept for the next attempt unless committedAtEnd
}

// A decision says what happens to the rows of a stream that are not committed.
type decision struct {
	keep    keepRows
	err     error            // why the sync failed for this stream; nil: it did not
	reason  incompleteReason // the same, for people; zero: err says it to them
	warning string           // what was assumed; "": nothing
}

// An incompleteReason is shown to people once for all streams that failed for it.
type incompleteReason struct {
	why    string
	kept   sentence
	remedy string
}

// A sentence is about one stream or about several.
type sentence struct{ one, several string }

// What is kept of a stream that was not received completely.
var (
	keptStates = sentence{"What its states cover is kept.", "What their states cover is kept."}
	keptTable  = sentence{"Its table is as it was before.", "Their tables are as they were before."}
	keptBoth   = sentence{
		"Its table is as it was before, and what its states cover is kept for the next attempt.",
		"Their tables are as they were before, and what their states cover is kept for the next attempt.",
	}
)

// line returns the line about streams, at least one.
func (r incompleteReason) line(streams []string) string {
	if len(streams) == 1 {
		return fmt.Sprintf("Stream %s was not received completely: %s. %s %s", streams[0], r.why, r.kept.one, r.remedy)
	}
	return fmt.Sprintf("%d streams were not received completely: %s. %s %s They are %s.", len(streams), r.why, r.kept.several, r.remedy, strings.Join(streams, ", "))
}

type keepRows int

const (
	keepNothing keepRows = iota // the table stays as it was
	keepCovered                 // rows after the last STATE are dropped; the next sync sends them again
	keepAll
)

// decide follows the rules on which other destinations have converged: a COMPLETE
// status proves, and a failure disproves. Where statuses are sent, a missing one is
// a failure. Where none can be expected (custom connectors on the Airbyte platform,
// old runners), the user's choice counts. If the end of the input may not be the
// source's own, nothing is assumed.
func (c Completion) decide(id protocol.StreamID, e streamEnd) decision {
	switch {
	case e.input == unreadable:
		return e.incomplete(nil)
	case e.complete():
		if e.input == stoppedEarly && !e.committedAtEnd && e.uncovered > 0 {
			return e.incomplete(nil) // a STATE that covers them may be on its way
		}
		return decision{keep: keepAll}
	case e.failure != "":
		return e.unproven(id, "the source failed: "+e.failure)
	case e.status == protocol.Incomplete:
		return e.unproven(id, "the source reported it INCOMPLETE")
	case e.input != inputEnded:
		return e.incomplete(nil)
	case e.statuses:
		return e.unproven(id, noProof)
	case !e.losesRowsIfIncomplete() && e.uncovered == 0 && c != Strict:
		return decision{keep: keepAll}
	case c == EndOfInput && e.heard:
		return decision{keep: keepAll}
	case !e.heard:
		return e.unproven(id, noMessage)
	case c == StateHint && !e.losesRowsIfIncomplete() && !e.continues:
		return decision{keep: keepAll, warning: "the input has neither a state of the stream nor statuses: its end is taken as proof that the stream is complete"}
	case c == StateHint && e.losesRowsIfIncomplete() && !e.generations && e.hasStates && e.uncovered == 0:
		return decision{keep: keepAll, warning: "the input has no statuses: the STATE at the stream's end is taken as proof that it is complete"}
	case e.uncovered > 0 && e.hasStates:
		return e.unproven(id, fmt.Sprintf("%d of its records came after its last STATE, without a COMPLETE status", e.uncovered))
	case e.uncovered > 0 && e.continues && !e.losesRowsIfIncomplete():
		return e.unproven(id, fmt.Sprintf("%d of its records came without a STATE after them, and without a COMPLETE status", e.uncovered))
	}
	return e.unproven(id, noProof)
}

const (
	noProof   = "the input ended without the stream's COMPLETE status"
	noMessage = "the input has no record, state or status of any stream, as if the source had died before its first message"
)

// losesRowsIfIncomplete reports whether rows of the table are lost if the stream is taken for
// complete and is not.
func (e streamEnd) losesRowsIfIncomplete() bool { return e.committedAtEnd || e.refreshing }

// incomplete decides on a stream that was not received completely.
func (e streamEnd) incomplete(err error) decision {
	if e.committedAtEnd {
		return decision{keep: keepNothing, err: err}
	}
	return decision{keep: keepCovered, err: err}
}

// unproven decides on a stream that fails because its completeness is not proven.
func (e streamEnd) unproven(id protocol.StreamID, why string) decision {
	reason := incompleteReason{why: strings.TrimRight(why, "."), kept: keptStates, remedy: "Run the sync again to get the rest."}
	switch {
	case e.committedAtEnd:
		reason.kept, reason.remedy = keptTable, "Run the sync again."
	case e.refreshing:
		reason.kept, reason.remedy = keptBoth, "Run the sync again."
	}
	if !e.statuses && e.failure == "" && e.hasRecords {
		reason.remedy += ` If the source never sends statuses, "completion":"eof" takes the end of the input as proof; a source that dies early then counts as complete.`
	}
	d := e.incomplete(&protocol.Error{Kind: protocol.TransientError, Stream: &id, Message: reason.line([]string{id.String()}), TraceOnly: true})
	if e.failure != "" { // people have read it, with the source's own remedy
		reason.why, reason.remedy = "the source failed", "Run the sync again when the cause is gone."
	}
	d.reason = reason
	return d
}
