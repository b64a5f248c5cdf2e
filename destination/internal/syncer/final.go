package syncer

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// SignalDelay is how long after the end of the input a signal may arrive that
// caused it. Ctrl-C stops both programs of a pipe, and the source may be the
// quicker one.
const SignalDelay = 250 * time.Millisecond

// commitAtEOF makes the final commit at the end of the input. If the end would
// have to prove that a stream is complete, it first waits for a signal: the source
// may not have ended by itself.
func (r *run) commitAtEOF(stop, ctx context.Context) error {
	if !r.checkpoints.anyUnproven() {
		return r.commitFinal(ctx, inputEnded)
	}
	signals := time.NewTimer(r.config.SignalDelay)
	defer signals.Stop()
	// What states cover is committed in any case. If they cover all streams and a row came
	// after the last one, it is committed at the end, because no stream may be left out.
	if err := r.commitCovered(ctx); err != nil {
		return err
	}
	select {
	case <-stop.Done():
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-signals.C:
	}
	if stop.Err() != nil {
		return errors.Join(r.commitFinal(ctx, stoppedAtEnd), context.Cause(stop))
	}
	return r.commitFinal(ctx, inputEnded)
}

// commitFinal makes the last commit of a sync: it commits the rest of each stream
// as far as its completeness is proven, and reports the streams that were not
// received completely.
func (r *run) commitFinal(ctx context.Context, end inputEnd) error {
	if err := r.workers.each(ctx, (*worker).drain); err != nil {
		return err
	}
	segment, bad := r.firstBad.first()
	if bad != nil {
		r.checkpoints.dropStatesFrom(segment)
		end = unreadable
	}
	if err := r.warnOfLosses(ctx); err != nil {
		return err
	}
	if r.checkpoints.stateType == "" && r.checkpoints.anyUnproven() {
		var err error
		if r.checkpoints.sharedBefore, err = r.streams.hadShared(ctx); err != nil {
			return err
		}
	}
	nothing := end == inputEnded && !r.checkpoints.heardFromSource()
	plan, decisions := r.checkpoints.takeFinal(r.config.Completion, end)
	closed, err := r.closeFiles(ctx, plan)
	if err != nil {
		return err
	}
	if err := r.waitForCommit(ctx); err != nil {
		return err
	}
	if err := closed(); err != nil {
		return err
	}
	if err := errors.Join(bad, r.commitTables(ctx, plan)); err != nil {
		return err
	}
	if err := r.reportStreams(decisions, end); err != nil || !nothing {
		return err
	}
	r.log.Warn(noMessage)
	return nil
}

// reportStreams reports what was decided on the streams: to programs one by one, and to
// people once for all that failed for the same reason.
func (r *run) reportStreams(decisions []streamDecision, end inputEnd) error {
	failed := false
	streams := map[incompleteReason][]string{}
	var reasons []incompleteReason
	for _, d := range decisions {
		if d.warning != "" {
			r.log.Warn(d.warning, "stream", d.stream.ID.String())
		}
		if d.keep == keepAll && r.checkpoints.proofs.of(d.stream.ID).status != protocol.Complete {
			r.out.Progress().Add("streams", 1) // the others were counted when their status came
		}
		if d.err != nil {
			failed = true
			if d.reason != (incompleteReason{}) {
				if streams[d.reason] == nil {
					reasons = append(reasons, d.reason)
				}
				streams[d.reason] = append(streams[d.reason], d.stream.ID.String())
			}
			if err := r.out.Fail(d.stream.ID, d.err); err != nil {
				return err
			}
		}
	}
	for _, reason := range reasons {
		if end != stoppedAtEnd && end != stoppedEarly { // else people read that the run was interrupted
			r.out.PrintError(reason.line(streams[reason]))
		}
	}
	if failed {
		return protocol.ErrStreamsFailed
	}
	return nil
}

// A streamDecision is the decision on one stream.
type streamDecision struct {
	stream *Stream
	decision
}

// takeFinal moves what is left when no more is read into a commit plan, as far as the
// decision on each stream allows.
func (c *checkpoints) takeFinal(completion Completion, end inputEnd) (*commitPlan, []streamDecision) {
	plan := &commitPlan{}
	var decisions []streamDecision
	heard := c.heardFromSource()
	anyStates := slices.ContainsFunc(c.streams.all, func(s *Stream) bool { return s.coveredUpTo > 0 })
	for _, stream := range c.streams.all {
		d := completion.decide(stream.ID, streamEnd{
			proof:          c.proofs.of(stream.ID),
			input:          end,
			heard:          heard,
			statuses:       c.proofs.statuses,
			generations:    stream.configured.GenerationID != nil,
			hasStates:      stream.coveredUpTo > 0,
			continues:      stream.coveredUpTo > 0 || stream.hadState || anyStates && stream.configured.SyncMode == protocol.Incremental,
			hasRecords:     c.hasRecords(stream),
			uncovered:      stream.unplanned.between(stream.coveredUpTo, c.segment),
			committedAtEnd: stream.isCommittedAtEnd(),
			refreshing:     stream.begun.Refreshing,
		})
		decisions = append(decisions, streamDecision{stream, d})
	}
	c.holdBack(decisions, end)
	proven := map[*Stream]bool{}
	for _, d := range decisions {
		proven[d.stream] = d.keep == keepAll
	}
	for _, d := range decisions {
		stream := d.stream
		switch {
		case d.keep != keepAll && stream.isCommittedAtEnd():
			// Its files are deleted; the source sends its rows again.
		case !stream.isCommittedAtEnd() && c.statesAreShared() && c.anyCommittedAtEndUnproven(proven):
			// The states also cover a stream that is not replaced. They are not
			// echoed, so the source sends the rows of all their streams again.
		case d.keep == keepAll:
			t := c.planStream(stream, c.segment)
			t.replace, t.finishRefresh = stream.isOverwrite(), stream.begun.Refreshing
			plan.tables = append(plan.tables, t)
		case stream.coveredUpTo > stream.planned:
			plan.tables = append(plan.tables, c.planStream(stream, stream.coveredUpTo))
		}
	}
	c.moveTo(plan)
	return plan, decisions
}

// holdBack changes the decisions where states cover all streams and one of the streams is not
// complete. The source then sends again what came after its last state, of all of them, so it
// is kept of none. A stream in overwrite mode may keep it: it is replaced again.
func (c *checkpoints) holdBack(decisions []streamDecision, end inputEnd) {
	incomplete := func(d streamDecision) bool { return d.keep != keepAll }
	if !c.statesAreShared() && !c.sharedBefore || !slices.ContainsFunc(decisions, incomplete) {
		return
	}
	for i, d := range decisions {
		rows := d.stream.unplanned.between(d.stream.coveredUpTo, c.segment)
		if incomplete(d) || rows == 0 || d.stream.isOverwrite() {
			continue
		}
		decisions[i].decision = streamEnd{committedAtEnd: d.stream.isCommittedAtEnd()}.incomplete(nil)
		if end == inputEnded {
			decisions[i].warning = fmt.Sprintf("%d records of the complete stream came after the last state, which covers all streams. Another stream is not complete, so the source sends them again, and they are not kept", rows)
		}
	}
}

// dropStatesFrom drops the states that end a segment or a later one, because a
// message in that segment is bad.
func (c *checkpoints) dropStatesFrom(segment int64) {
	c.pending = slices.DeleteFunc(c.pending, func(p pendingState) bool { return p.segment >= segment })
	for _, stream := range c.streams.all {
		if stream.coveredUpTo < segment {
			continue
		}
		stream.coveredUpTo = stream.planned
		for _, p := range c.pending {
			if p.covers(stream) {
				stream.coveredUpTo = p.segment
			}
		}
	}
}

// anyUnproven reports whether a stream has no proof that it is complete.
func (c *checkpoints) anyUnproven() bool {
	return slices.ContainsFunc(c.streams.all, func(s *Stream) bool { return !c.proofs.of(s.ID).complete() })
}

// anyCommittedAtEndUnproven reports whether a stream that must be committed at the end is not
// among the proven ones.
func (c *checkpoints) anyCommittedAtEndUnproven(proven map[*Stream]bool) bool {
	return slices.ContainsFunc(c.streams.all, func(s *Stream) bool { return s.isCommittedAtEnd() && !proven[s] })
}

// heardFromSource reports whether the input had a record, a state or a status of
// any stream.
func (c *checkpoints) heardFromSource() bool {
	return c.proofs.statuses || slices.ContainsFunc(c.streams.all, func(s *Stream) bool { return s.coveredUpTo > 0 || c.hasRecords(s) })
}

// hasRecords reports whether the input had a record of the stream. A state without
// records counts, too, once it is in a commit plan.
func (c *checkpoints) hasRecords(s *Stream) bool {
	return s.planned > 0 || s.unplanned.between(0, c.segment) > 0
}
