package main

import (
	"bytes"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// A reader reads one configured stream.
type reader struct {
	*run
	stream
	mode    protocol.SyncMode
	first   time.Time        // what began earlier is not part of the stream; zero: all history is
	from    time.Time        // what began earlier need not be read
	kept    changes.State    // of an incremental stream, as it was kept
	full    bool             // the stream is to be read from its beginning
	tracker *changes.Tracker // of an incremental stream; nil: everything is emitted
	emitted map[string]bool
	asked   map[string]bool // parents whose row was asked for
	odd     map[uint64]bool // records that cannot be tracked and were emitted, by fingerprint
	over    bool            // complete or failed
	last    json.RawMessage // the newest state, which a heartbeat repeats; nil: none yet. Guarded by run.mu
}

// fullRefreshDone is the state of a stream that keeps none, as Airbyte's own
// connectors write it.
const fullRefreshDone = `{"__ab_full_refresh_sync_complete":true}`

// saysSomething reports whether a stream_state is one that a person would expect
// to be continued from.
func saysSomething(raw json.RawMessage) bool {
	text := string(bytes.TrimSpace(raw))
	return text != "" && text != "null" && text != "{}" && text != fullRefreshDone
}

// begin finds out where to start, and whether there is anything to read.
func (rd *reader) begin(states []protocol.State) (due bool, err error) {
	rd.first, rd.from = rd.Start, rd.Start
	if rd.mode == protocol.FullRefresh {
		rd.emitted = map[string]bool{}
		return true, nil
	}
	var raw json.RawMessage
	for _, s := range states {
		if s.Type == protocol.StreamState && s.Stream == rd.id() {
			raw = s.StreamState()
		}
	}
	st, known := changes.ParseState(raw)
	if !known {
		if saysSomething(raw) {
			rd.out.Logger().Warn("the stream's state is of another connector or of a later version and cannot be used: the stream is read from its start", "stream", rd.name)
		}
		st = changes.State{Start: rd.Start, WindowStart: rd.Start, Walked: rd.end}
	}
	if ahead := st.Until.Sub(rd.end); ahead > clockSlack { // nothing is newer
		rd.out.Logger().Warn("the state is of the future: nothing is read before its time comes. If WHOOP's clock was wrong once, clear the stream's state",
			"stream", rd.name, "until", st.Until)
		return false, rd.complete(raw)
	}
	if known {
		rd.setLast(raw)
	}
	walkedDaysAgo := int(rd.end.Sub(st.Walked) / (24 * time.Hour))
	rd.kept = st
	rd.full = known && (rd.Start.Before(st.Start) || st.EmitAll || rd.ReconcileEveryDays > 0 && walkedDaysAgo >= rd.ReconcileEveryDays)
	return true, nil
}

// track makes ready to find out what changed in an incremental stream.
func (rd *reader) track() (err error) {
	known, earlier := !rd.kept.Until.IsZero(), rd.Start.Before(rd.kept.Start)
	rd.first, rd.from = rd.kept.Start, rd.kept.Start
	if earlier {
		rd.out.Logger().Info("start_date was set earlier: the stream is read from there", "stream", rd.name)
		rd.first, rd.from = rd.Start, rd.Start
	}
	if known && !rd.full {
		rd.from = rd.kept.WindowStart
	}
	rd.tracker, err = changes.New(rd.kept, time.Duration(rd.LookbackDays)*24*time.Hour, rd.full, rd.first)
	return err
}

// clockSlack is how far WHOOP's clock may seem to go back between two syncs:
// many machines answer for it, and none tells the time to less than a second.
const clockSlack = time.Hour

// walked is the collection to walk for the stream's rows. A drill-down by
// requests follows its parent; in a full walk, which is no place for a request
// per record, it too is read from its own collection.
func (rd *reader) walked() string {
	if rd.requests() {
		return rd.parent
	}
	return rd.collection
}

func (rd *reader) requests() bool {
	return rd.parent != "" && rd.Drilldowns == config.Request && (rd.tracker == nil || !rd.full)
}

// readSlice reads the rows out of a slice of the walked collection, and
// checkpoints.
func (rd *reader) readSlice(ctx context.Context, records []changes.Record, to time.Time) error {
	if err := rd.readRows(ctx, records); err != nil {
		return err
	}
	if rd.tracker == nil || !to.Before(rd.end) { // the last state waits for finish
		return nil
	}
	rd.tracker.Advance(to)
	return rd.checkpoint()
}

func (rd *reader) readRows(ctx context.Context, records []changes.Record) error {
	if rd.requests() {
		return rd.drill(ctx, records)
	}
	if rd.some != nil {
		var err error
		if records, err = rd.choose(ctx, records); err != nil {
			return err
		}
	}
	for _, r := range records {
		if !rd.consider(r) {
			continue
		}
		if err := rd.emit(r.Raw); err != nil {
			return err
		}
	}
	return nil
}

// drill asks for the row of each parent changes.Record, or, where the parent is the
// same record and tells, of each that has changed.
func (rd *reader) drill(ctx context.Context, parents []changes.Record) error {
	told := rd.parent == rd.collection
	parents = slices.DeleteFunc(slices.Clone(parents), func(r changes.Record) bool {
		if told {
			return !rd.consider(r)
		}
		if r.Key == "" {
			rd.considerOdd(r) // which names it
			return true
		}
		if rd.asked[r.Key] { // it lies across two slices
			return true
		}
		rd.asked[r.Key] = true
		return r.Untracked == "" && !r.Open && r.End.Before(rd.from) // another stream walks from further back
	})
	get := func(ctx context.Context, parent changes.Record) (*changes.Record, error) {
		if parent.Key == "" {
			return &parent, nil // there is nothing to ask for, and it is the row
		}
		return rd.row(ctx, rd.stream, rd.child, parent.Key)
	}
	return inOrder(ctx, rd.client.Width, parents, get, func(_ changes.Record, row *changes.Record, err error) error {
		switch {
		case err != nil || row == nil:
			return err
		case !told && !rd.consider(*row):
			return nil
		case told && rd.tracker != nil && row.Untracked == "":
			rd.tracker.Remember(*row) // it may be newer than the one that told
		}
		return rd.emit(row.Raw)
	})
}

// choose leaves of a collection's records those that are rows. Of a cycle with
// more than one of them, as when a nap became a sleep, WHOOP shows one and does
// not say by which rule, so it is asked. A record that does not say to which
// cycle it belongs is a row.
func (rd *reader) choose(ctx context.Context, records []changes.Record) ([]changes.Record, error) {
	of := map[string]int{}
	for _, r := range records {
		if rd.some(r) {
			of[r.Cycle]++
		}
	}
	shown := map[string]string{} // cycle to key
	var rows []changes.Record
	for _, r := range records {
		if !rd.some(r) || r.Untracked == "" && r.Time.Before(rd.from) {
			continue
		}
		if r.Cycle != "" && of[r.Cycle] > 1 {
			if _, asked := shown[r.Cycle]; !asked {
				row, err := rd.row(ctx, rd.stream, rd.child, r.Cycle)
				if err != nil {
					return nil, err
				}
				shown[r.Cycle] = ""
				if row != nil {
					shown[r.Cycle] = row.Key
				}
			}
			if shown[r.Cycle] != r.Key {
				continue
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// consider tells whether a row is to be emitted.
func (rd *reader) consider(r changes.Record) bool {
	if r.Untracked != "" {
		return rd.considerOdd(r)
	}
	if r.Time.Before(rd.first) { // WHOOP also gives what lasted until then
		return false
	}
	if rd.tracker != nil {
		return rd.tracker.Observe(r)
	}
	if rd.emitted[r.Key] {
		return false
	}
	rd.emitted[r.Key] = true
	return true
}

// considerOdd tells whether a row that cannot be tracked is to be emitted: once a
// sync, as nobody can say whether it is the one of the last.
func (rd *reader) considerOdd(r changes.Record) bool {
	if len(rd.odd) == 0 {
		rd.out.Logger().Warn("a record cannot be tracked: it is read by every sync that meets it, and not missed when it vanishes. The first of the stream is named here",
			"stream", rd.name, "record", r.Key, "why", r.Untracked)
		rd.odd = map[uint64]bool{}
	}
	if rd.odd[r.Fingerprint] {
		return false
	}
	rd.odd[r.Fingerprint] = true
	return true
}

// finish ends a stream whose walk is done.
func (rd *reader) finish(ctx context.Context) error {
	if rd.tracker == nil {
		return rd.complete(json.RawMessage(fullRefreshDone))
	}
	findings, more, lost := rd.tracker.Unresolved()
	for _, f := range findings {
		if err := rd.resolve(ctx, f); err != nil {
			return err
		}
	}
	if more {
		rd.out.Logger().Info("much has changed from before the lookback: the next sync emits the stream anew", "stream", rd.name)
	}
	if lost {
		rd.out.Logger().Warn("more rows from before the lookback came or vanished than can be told apart. "+
			"Refresh the stream to be rid of rows that vanished", "stream", rd.name)
	}
	rd.tracker.Finish(rd.end, more)
	raw, err := rd.tracker.Checkpoint()
	if err != nil {
		return err
	}
	return rd.complete(raw)
}

// resolve asks WHOOP for a row that did not come or may be different. Pages can
// miss a row when others appear or vanish while they are read, so only WHOOP
// itself can say that one is gone.
func (rd *reader) resolve(ctx context.Context, f changes.Unresolved) error {
	r, err := rd.item(ctx, f.Key)
	if err != nil {
		return err
	}
	if r != nil && r.Untracked != "" { // it could be when it was met the last time
		rd.tracker.Forget(f)
		if !rd.considerOdd(*r) {
			return nil
		}
		return rd.emit(r.Raw)
	}
	if r != nil && r.Time.Before(rd.first) {
		r = nil // it moved out of the stream
	}
	emit, updated := rd.tracker.Resolve(f, r)
	switch {
	case emit:
		return rd.emit(r.Raw)
	case r == nil:
		now := rd.client.Now()
		if updated.Before(now) { // a run that was killed may have emitted a newer version than the state knows
			updated = now
		}
		return rd.emit(tombstone(rd.key, f.Key, updated, now))
	}
	return nil
}

// item reads one row by its key; nil if there is none.
func (rd *reader) item(ctx context.Context, key string) (*changes.Record, error) {
	r, err := rd.row(ctx, rd.stream, rd.stream.item, key)
	if err != nil || r == nil || rd.some == nil || r.Cycle == "" {
		return r, err
	}
	shown, err := rd.row(ctx, rd.stream, rd.child, r.Cycle)
	if err != nil || shown == nil || shown.Key != key {
		return nil, err
	}
	return shown, nil
}

// readObject reads a stream that is one object.
func (rd *reader) readObject(ctx context.Context) error {
	raw, err := rd.profile.raw, rd.profile.err
	var member json.RawMessage
	if err == nil {
		member, err = userID(raw)
	}
	if err == nil && rd.object != whoop.ProfilePath {
		if raw, err = rd.client.Get(ctx, rd.object); missing(err) { // a member without a body measurement
			return rd.complete(json.RawMessage(fullRefreshDone))
		}
		if err == nil {
			raw, err = withMember(raw, member, rd.client.Now())
		}
	}
	if err != nil {
		return err
	}
	if err := rd.emit(raw); err != nil {
		return err
	}
	return rd.complete(json.RawMessage(fullRefreshDone))
}

func (rd *reader) emit(raw json.RawMessage) error {
	if err := rd.out.Record(rd.id(), raw); err != nil {
		return outputError{err}
	}
	return nil
}

func (rd *reader) checkpoint() error {
	raw, err := rd.tracker.Checkpoint()
	if err != nil {
		return err
	}
	return rd.state(raw)
}

func (rd *reader) state(raw json.RawMessage) error {
	rd.mu.Lock() // a heartbeat must not come between, and repeat an older one
	defer rd.mu.Unlock()
	rd.last = raw
	if err := rd.out.State(protocol.NewStreamState(rd.id(), raw)); err != nil {
		return outputError{err}
	}
	return nil
}

func (rd *reader) setLast(raw json.RawMessage) {
	rd.mu.Lock()
	defer rd.mu.Unlock()
	rd.last = raw
}

// complete ends the stream with its last state.
func (rd *reader) complete(state json.RawMessage) error {
	if err := rd.state(state); err != nil {
		return err
	}
	rd.over = true
	if err := rd.out.Status(rd.id(), protocol.Complete); err != nil {
		return outputError{err}
	}
	return nil
}
