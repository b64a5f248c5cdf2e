package main

import (
	"fmt"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Completion is what the user takes for proof that a source has sent all of a
// stream.
type Completion string

const (
	strict     Completion = "strict"
	stateHint  Completion = "state_hint"
	endOfInput Completion = "eof"
)

// An ending is what is known of a stream when the input is over.
type ending struct {
	status       protocol.StreamStatus // the stream's terminal status, if one came
	anyStatus    bool                  // some stream of the input had a status
	generations  bool                  // the catalog carries generation ids, so its author sends statuses
	states       bool                  // the stream had a STATE
	uncovered    int64                 // records of the stream after its last STATE
	interrupted  bool                  // the run was told to stop before the input ended
	replacesRows bool                  // overwrite: taking half of a stream for all of it would lose rows
	refreshes    bool                  // the same for older generations; what states cover is kept for the next attempt
}

// A verdict says what becomes of a stream's uncommitted rows.
type verdict struct {
	keep    extent
	err     error  // why the run has failed for this stream, if it has
	warning string // what was assumed, if something was
}

type extent int

const (
	nothing    extent = iota // an overwrite that is not proven complete changes nothing
	toState                  // rows after the last STATE come again with the next run
	everything               // all of it
)

// judge decides by the rules the field has converged on: COMPLETE proves, any
// sign that statuses are sent makes their absence a failure, and where no
// status can be expected (custom connectors on the Airbyte platform, old
// runners) the user's choice counts.
func (c Completion) judge(id protocol.StreamID, e ending) verdict {
	switch {
	case e.interrupted:
		return e.verdict(nil)
	case e.status == protocol.Complete:
		return verdict{keep: everything}
	case e.status == protocol.Incomplete:
		return e.unproven(id, "the source reported it INCOMPLETE")
	case e.anyStatus:
		return e.unproven(id, noProof)
	case !e.replaces() && e.uncovered == 0 && c != strict:
		return verdict{keep: everything}
	case c == endOfInput:
		return verdict{keep: everything}
	case c == stateHint && !e.replaces() && !e.states:
		return verdict{keep: everything, warning: "the input carries neither states nor statuses: taking its end for the end of the stream"}
	case c == stateHint && e.replaces() && !e.generations && e.states && e.uncovered == 0:
		return verdict{keep: everything, warning: "the input carries no statuses: taking the STATE at the stream's end as proof that it is complete"}
	case e.uncovered > 0 && e.states:
		return e.unproven(id, fmt.Sprintf("of its records, %d came after its last STATE, and no COMPLETE status", e.uncovered))
	}
	return e.unproven(id, noProof)
}

const noProof = "the input ended without the stream's COMPLETE status"

// replaces tells whether rows of the table are lost when the ending is taken
// for complete and is not.
func (e ending) replaces() bool { return e.replacesRows || e.refreshes }

// verdict is that on a stream of which not everything is there.
func (e ending) verdict(err error) verdict {
	if e.replacesRows {
		return verdict{keep: nothing, err: err}
	}
	return verdict{keep: toState, err: err}
}

func (e ending) unproven(id protocol.StreamID, why string) verdict {
	message := fmt.Sprintf("Stream %s was not received completely: %s.", id, why)
	switch {
	case e.replacesRows:
		message += " Its table is as it was before. Run the sync again."
	case e.refreshes:
		message += " Its table is as it was before, and what its states cover is kept for the next attempt. Run the sync again."
	default:
		message += " What its states cover is kept. Run the sync again to get the rest."
	}
	if !e.anyStatus {
		message += ` For a source that never sends statuses, "completion":"eof" takes the end of the input as proof.`
	}
	return e.verdict(&protocol.Error{Kind: protocol.TransientError, Stream: &id, Message: message})
}
