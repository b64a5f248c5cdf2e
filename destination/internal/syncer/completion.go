package syncer

import (
	"fmt"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Completion is what the user takes for proof that a source has sent all of a
// stream.
type Completion string

const (
	Strict     Completion = "strict"
	StateHint  Completion = "state_hint"
	EndOfInput Completion = "eof"
)

// proofs is what the input has said of its completeness. It learns from every
// status and every failure of the source, also those of streams that are not in
// the catalog: where statuses are sent, a missing one says something.
type proofs struct {
	statuses bool   // some stream had a status
	failure  string // of the source, in its own words, that belongs to no stream of the catalog; "": none
	streams  map[protocol.StreamID]proof
}

// proof is what the input has said of one stream.
type proof struct {
	status  protocol.StreamStatus // the terminal one, if it came
	failure string                // in the source's own words; "": none
}

func newProofs(streams []protocol.StreamID) *proofs {
	p := &proofs{streams: map[protocol.StreamID]proof{}}
	for _, id := range streams {
		p.streams[id] = proof{}
	}
	return p
}

// status notes a stream's status; false means that the catalog does not have the
// stream.
func (p *proofs) status(s protocol.StatusMessage) bool {
	p.statuses = true
	known, ok := p.streams[s.Stream]
	if ok && (s.Status == protocol.Complete || s.Status == protocol.Incomplete) {
		known.status = s.Status
		p.streams[s.Stream] = known
	}
	return ok
}

// fail notes that the source, or one of its streams, has failed. The first
// failure is the cause of those that follow.
func (p *proofs) fail(f protocol.SourceFailure) {
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

// of is the proof of one stream. A failure of the whole source says nothing of a
// stream that was complete.
func (p *proofs) of(id protocol.StreamID) proof {
	known := p.streams[id]
	if known.failure == "" && known.status != protocol.Complete {
		known.failure = p.failure
	}
	return known
}

// complete reports whether a stream was said to be complete, and nothing against
// it.
func (p proof) complete() bool { return p.status == protocol.Complete && p.failure == "" }

// An inputEnd is why no more is read.
type inputEnd int

const (
	ended       inputEnd = iota // the input is over
	stoppedAt                   // the same, but the run was told to stop at that moment: who wrote the input may have been, too
	interrupted                 // the run was told to stop before
	broken                      // something cannot be read: nobody knows what
)

// A streamEnd is what is known of a stream when no more is read.
type streamEnd struct {
	proof
	input        inputEnd
	heard        bool  // the input had a record, a state or a status of some stream
	statuses     bool  // some stream of the input had a status
	generations  bool  // the catalog carries generation ids, so its author sends statuses
	states       bool  // the stream had a STATE
	records      bool  // it had a record
	uncovered    int64 // records of the stream after its last STATE
	replacesRows bool  // overwrite: taking half of a stream for all of it would lose rows
	refreshes    bool  // the same for older generations; what states cover is kept for the next attempt
}

// A decision says what becomes of a stream's uncommitted rows.
type decision struct {
	keep    keepRows
	err     error  // why the run has failed for this stream, if it has
	warning string // what was assumed, if something was
}

type keepRows int

const (
	nothing    keepRows = iota // an overwrite that is not proven complete changes nothing
	toState                    // rows after the last STATE come again with the next run
	everything                 // all of it
)

// decide goes by the rules the field has converged on: COMPLETE proves, a
// failure disproves, any sign that statuses are sent makes their absence a
// failure, and where no status can be expected (custom connectors on the Airbyte
// platform, old runners) the user's choice counts. Nothing is assumed of an
// input whose end may not be the source's own.
func (c Completion) decide(id protocol.StreamID, e streamEnd) decision {
	switch {
	case e.input == broken:
		return e.partly(nil)
	case e.complete():
		if e.input == interrupted && !e.replacesRows && e.uncovered > 0 {
			return e.partly(nil) // a STATE of theirs may be on its way
		}
		return decision{keep: everything}
	case e.failure != "":
		return e.unproven(id, "the source failed: "+e.failure)
	case e.status == protocol.Incomplete:
		return e.unproven(id, "the source reported it INCOMPLETE")
	case e.input != ended:
		return e.partly(nil)
	case e.statuses:
		return e.unproven(id, noProof)
	case !e.replaces() && e.uncovered == 0 && c != Strict:
		return decision{keep: everything}
	case c == EndOfInput && e.heard:
		return decision{keep: everything}
	case c == EndOfInput:
		return e.unproven(id, "the input holds no record, state or status of any stream, as when the source died before its first")
	case c == StateHint && !e.replaces() && !e.states:
		return decision{keep: everything, warning: "the input carries neither states nor statuses: taking its end for the end of the stream"}
	case c == StateHint && e.replaces() && !e.generations && e.states && e.uncovered == 0:
		return decision{keep: everything, warning: "the input carries no statuses: taking the STATE at the stream's end as proof that it is complete"}
	case e.uncovered > 0 && e.states:
		return e.unproven(id, fmt.Sprintf("of its records, %d came after its last STATE, and no COMPLETE status", e.uncovered))
	}
	return e.unproven(id, noProof)
}

const noProof = "the input ended without the stream's COMPLETE status"

// replaces reports whether rows of the table are lost when the end is taken
// for complete and is not.
func (e streamEnd) replaces() bool { return e.replacesRows || e.refreshes }

// partly decides on a stream of which not everything is there.
func (e streamEnd) partly(err error) decision {
	if e.replacesRows {
		return decision{keep: nothing, err: err}
	}
	return decision{keep: toState, err: err}
}

func (e streamEnd) unproven(id protocol.StreamID, why string) decision {
	message := fmt.Sprintf("Stream %s was not received completely: %s.", id, strings.TrimRight(why, "."))
	switch {
	case e.replacesRows:
		message += " Its table is as it was before. Run the sync again."
	case e.refreshes:
		message += " Its table is as it was before, and what its states cover is kept for the next attempt. Run the sync again."
	default:
		message += " What its states cover is kept. Run the sync again to get the rest."
	}
	if !e.statuses && e.failure == "" && e.records {
		message += ` If the source never sends statuses, "completion":"eof" takes the end of the input as proof; a source that dies early then counts as complete.`
	}
	return e.partly(&protocol.Error{Kind: protocol.TransientError, Stream: &id, Message: message})
}
