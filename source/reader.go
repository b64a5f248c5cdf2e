package main

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
)

// A reader reads one configured stream.
type reader struct {
	run    *run
	stream stream
	mode   protocol.SyncMode

	// streamStart is where the stream begins: it has no rows that began earlier; zero: all
	// history. It is the earlier of the configured start_date and the one that the stream was
	// last read from, which stays if start_date is moved to a later date.
	streamStart time.Time
	// readFrom is where it is read from: streamStart if all of the stream is read, otherwise
	// where the last sync left the window.
	readFrom time.Time

	// For an incremental stream.
	state    changes.State
	walkDue  bool             // by its own state, a full walk is due
	fullWalk bool             // the stream takes part in a full walk
	tracker  *changes.Tracker // nil in a full refresh: every row is emitted

	emitted   map[string]bool // keys, in a full refresh
	untracked map[uint64]bool // fingerprints of emitted records that no tracker can follow
	requested map[string]bool // parents whose row was requested

	parentWithoutKey bool // a parent had no key, and the user was warned

	done      bool            // the stream is complete or has failed
	lastState json.RawMessage // nil: none yet, or a record has been emitted since. Guarded by run.mu
}

func newReader(r *run, s stream, mode protocol.SyncMode) *reader {
	return &reader{
		run: r, stream: s, mode: mode,
		emitted: map[string]bool{}, untracked: map[uint64]bool{}, requested: map[string]bool{},
	}
}

// clockSlack is how far WHOOP's clock may seem to go back between two syncs: many
// machines answer for it, and each tells the time to the second only.
const clockSlack = time.Hour

// start reads the stream's state and decides where to start, and whether a full walk is
// due. It completes a stream that has nothing to read.
func (rd *reader) start(states []protocol.State) error {
	config, log := rd.run.session.config, rd.run.session.out.Logger()
	rd.streamStart, rd.readFrom = config.Start, config.Start
	if rd.mode == protocol.FullRefresh {
		return nil
	}
	var raw json.RawMessage
	for _, s := range states {
		if s.Type == protocol.StreamState && s.Stream == rd.stream.id() {
			raw = s.StreamState()
		}
	}
	st, known := changes.ParseState(raw)
	if !known && !isEmptyState(raw) {
		log.Warn("the stream's state was written by another connector or a later version and cannot be used: the stream is read from its start", "stream", rd.stream.name)
	}
	known = known && st.HasBegun()
	if !known {
		st = changes.State{Start: config.Start, WindowStart: config.Start, Walked: rd.run.end}
	}
	if st.Until.Sub(rd.run.end) > clockSlack { // there is nothing newer
		log.Warn("the state is later than WHOOP's clock: nothing is read until that time comes. If WHOOP's clock was wrong, clear the stream's state",
			"stream", rd.stream.name, "until", st.Until)
		return rd.complete(raw)
	}
	if known {
		rd.setLastState(raw)
	}
	if member := rd.run.session.member; member != nil {
		st.Member = member
	}
	sinceWalk := rd.run.end.Sub(st.Walked)
	overdue := int(sinceWalk/(24*time.Hour)) >= config.ReconcileEveryDays || sinceWalk < -clockSlack // WHOOP's clock was wrong then
	rd.state = st
	rd.walkDue = known && (config.Start.Before(st.Start) || st.EmitAll || config.ReconcileEveryDays > 0 && overdue)
	return nil
}

// fullRefreshDone is the state of a stream that needs none, as Airbyte's own
// connectors write it.
const fullRefreshDone = `{"__ab_full_refresh_sync_complete":true}`

// noStates are the members of states that only say that there is no state, as Airbyte's own
// connectors write them for streams in full refresh mode.
var noStates = []string{"__ab_full_refresh_sync_complete", "__ab_no_cursor_state_message"}

// isEmptyState reports whether nobody would expect to continue from a stream_state.
func isEmptyState(raw json.RawMessage) bool {
	if len(raw) == 0 {
		return true
	}
	var members map[string]json.RawMessage
	err := json.Unmarshal(raw, &members)
	maps.DeleteFunc(members, func(name string, _ json.RawMessage) bool { return slices.Contains(noStates, name) })
	return err == nil && len(members) == 0
}

// startTracking makes the tracker of an incremental stream.
func (rd *reader) startTracking() {
	config := rd.run.session.config
	rd.streamStart, rd.readFrom = rd.state.Start, rd.state.Start
	if config.Start.Before(rd.state.Start) {
		rd.run.session.out.Logger().Info("start_date was set earlier: the stream is read from there", "stream", rd.stream.name)
		rd.streamStart, rd.readFrom = config.Start, config.Start
	}
	if !rd.state.Until.IsZero() && !rd.fullWalk {
		rd.readFrom = rd.state.WindowStart
	}
	rd.tracker = changes.New(rd.state, time.Duration(config.LookbackDays)*24*time.Hour, rd.fullWalk, rd.streamStart)
}

// emitSlice emits the rows of a slice of the walked collection, and then a state. A
// full walk has a state only at its end.
func (rd *reader) emitSlice(ctx context.Context, records []changes.Record, s timeSlice) error {
	if err := rd.emitRows(ctx, records, s); err != nil {
		return err
	}
	if rd.tracker == nil || !s.to.Before(rd.run.end) { // endWalk emits the last state
		return nil
	}
	rd.tracker.Advance(s.to)
	raw, err := rd.tracker.Checkpoint()
	if err != nil || raw == nil {
		return err
	}
	return rd.emitState(raw)
}

// emitRows emits those rows of a slice that are new or have changed. Streams that need
// requests for that are read in drilldown.go.
func (rd *reader) emitRows(ctx context.Context, records []changes.Record, s timeSlice) error {
	if rd.byRequest() {
		return rd.requestRows(ctx, records)
	}
	if rd.stream.include != nil {
		var err error
		if records, err = rd.includedRows(ctx, records, s); err != nil {
			return err
		}
	}
	for _, r := range records {
		if rd.isChange(r) {
			if err := rd.emitRow(r); err != nil {
				return err
			}
		}
	}
	return nil
}

// isChange reports whether to emit a row. A record that cannot be tracked is emitted
// once a sync, because nobody knows whether it is the same as in the last one.
func (rd *reader) isChange(r changes.Record) bool {
	switch {
	case r.Untracked != "": // its time may not be known either
		return !rd.untracked[r.Fingerprint]
	case r.Time.Before(rd.streamStart): // WHOOP also returns what lasted until then
		return false
	case rd.tracker != nil:
		return rd.tracker.Observe(r)
	}
	return !rd.emitted[r.Key]
}

// emitRow emits a row and then remembers it: what is remembered does not come again.
func (rd *reader) emitRow(r changes.Record) error {
	if r.Untracked != "" && len(rd.untracked) == 0 {
		consequence := "every sync that meets it emits it again, and its deletion is not noticed"
		if rd.tracker == nil {
			consequence = "it is emitted as it is"
		}
		rd.run.session.out.Logger().Warn("a record cannot be tracked: "+consequence+". This is the first one of the stream",
			"stream", rd.stream.name, "record", changes.Shown(r.Key), "why", r.Untracked)
	}
	if err := rd.emit(r.Raw); err != nil {
		return err
	}
	switch {
	case r.Untracked != "":
		rd.untracked[r.Fingerprint] = true
	case rd.tracker != nil:
		rd.tracker.Emitted(r)
	default:
		rd.emitted[r.Key] = true
	}
	return nil
}

// endWalk completes the stream after the last slice. It first resolves the rows
// that did not come, and emits tombstones for those that are gone.
func (rd *reader) endWalk(ctx context.Context) error {
	if rd.tracker == nil {
		return rd.complete(json.RawMessage(fullRefreshDone))
	}
	rows, tooMany, lost := rd.tracker.Unresolved()
	for _, u := range rows {
		if err := rd.resolve(ctx, u); err != nil {
			return err
		}
	}
	log := rd.run.session.out.Logger()
	if tooMany {
		log.Info("many rows from before the lookback have changed: the next sync emits the whole stream again", "stream", rd.stream.name)
	}
	if lost {
		log.Warn(fmt.Sprintf("more rows from before the lookback vanished or appeared since the last full walk than a state can tell apart, which is about %d: "+
			"some that vanished get no tombstone and stay in the destination. To remove them, refresh the stream, or sync it once in full refresh and overwrite mode", changes.MaxVanished),
			"stream", rd.stream.name)
	}
	rd.tracker.Finish(rd.run.end, tooMany)
	raw, err := rd.tracker.Checkpoint()
	if err != nil {
		return err
	}
	return rd.complete(raw)
}

// resolve reads a row that did not come, or may be different, by its key. Pages can
// miss a row if others appear or vanish while they are read, so only this request
// shows that the row is gone.
func (rd *reader) resolve(ctx context.Context, u changes.UnresolvedRow) error {
	r, err := rd.readItem(ctx, u.Key)
	if err != nil {
		return err
	}
	if r != nil && r.Untracked != "" { // it could be tracked when it came the last time
		rd.tracker.Forget(u)
		if !rd.isChange(*r) {
			return nil
		}
		return rd.emitRow(*r)
	}
	if r != nil && r.Time.Before(rd.streamStart) {
		r = nil // it moved out of the stream
	}
	emit, updated := rd.tracker.Resolve(u, r)
	switch {
	case !emit:
		return nil
	case r != nil:
		return rd.emit(r.Raw)
	}
	now := rd.run.session.client.Now()
	if updated.Before(now) { // a run that was killed may have emitted a newer version than the state knows
		updated = now
	}
	return rd.emit(tombstone(rd.stream.key, u.Key, updated, now))
}

func (rd *reader) emit(raw json.RawMessage) error {
	rd.setLastState(nil)
	if err := rd.run.session.out.Record(rd.stream.id(), raw); err != nil {
		return outputError{err}
	}
	return nil
}

func (rd *reader) emitState(raw json.RawMessage) error {
	rd.run.mu.Lock() // or rateLimited could come between, and repeat an older state
	defer rd.run.mu.Unlock()
	rd.lastState = raw
	if err := rd.run.session.out.State(protocol.NewStreamState(rd.stream.id(), raw)); err != nil {
		return outputError{err}
	}
	return nil
}

func (rd *reader) setLastState(raw json.RawMessage) {
	rd.run.mu.Lock()
	defer rd.run.mu.Unlock()
	rd.lastState = raw
}

// complete ends the stream with its last state.
func (rd *reader) complete(state json.RawMessage) error {
	if err := rd.emitState(state); err != nil {
		return err
	}
	if err := rd.run.session.out.Status(rd.stream.id(), protocol.Complete); err != nil {
		return outputError{err}
	}
	rd.done = true
	return nil
}
