package main

import (
	"context"
	"encoding/json"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A reader reads one configured stream.
type reader struct {
	*run
	stream
	mode    protocol.SyncMode
	first   time.Time // what began earlier is not part of the stream; zero: all history is
	from    time.Time // what began earlier need not be read
	tracker *tracker  // of an incremental stream; nil: everything is emitted
	emitted map[string]bool
	over    bool // complete or failed
}

// fullRefreshDone is the state of a stream that keeps none, as Airbyte's own
// connectors write it.
const fullRefreshDone = `{"__ab_full_refresh_sync_complete":true}`

// begin finds out where to start, and whether there is anything to read.
func (rd *reader) begin(states []protocol.State) (due bool, err error) {
	rd.first, rd.from = rd.start, rd.start
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
	st, known := parseState(raw)
	if known && rd.start.Before(st.Start) {
		rd.out.Logger().Info("start_date was set earlier: the stream starts over", "stream", rd.name)
		known = false
	}
	if !known {
		st = state{Start: rd.start, WindowStart: rd.start, Walked: rd.end}
	}
	if st.Until.After(rd.end) { // a state of the future: nothing is newer
		return false, rd.complete(raw)
	}
	every := time.Duration(rd.ReconcileEveryDays) * 24 * time.Hour
	full := known && every > 0 && rd.end.Sub(st.Walked) >= every
	rd.first, rd.from = st.Start, st.Start
	if known && !full {
		rd.from = st.WindowStart
	}
	rd.tracker, err = newTracker(st, time.Duration(rd.LookbackDays)*24*time.Hour, full)
	return err == nil, err
}

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
	return rd.parent != "" && rd.Drilldowns == request && (rd.tracker == nil || !rd.tracker.full)
}

// readSlice reads the rows out of a slice of the walked collection, and
// checkpoints.
func (rd *reader) readSlice(ctx context.Context, records []record, to time.Time) error {
	for _, r := range records {
		if err := rd.readRecord(ctx, r); err != nil {
			return err
		}
	}
	if rd.tracker == nil || !to.Before(rd.end) { // the last state waits for finish
		return nil
	}
	rd.tracker.advance(to)
	return rd.checkpoint()
}

func (rd *reader) readRecord(ctx context.Context, r record) error {
	switch {
	case !rd.requests():
		if rd.some != nil && !rd.some(r) || !rd.consider(r) {
			return nil
		}
		return rd.emit(r.raw)
	case rd.parent == rd.collection: // the parent tells whether it has changed
		if !rd.consider(r) {
			return nil
		}
		row, err := rd.row(ctx, rd.stream, rd.child, r.key)
		if err != nil || row == nil {
			return err
		}
		return rd.emit(row.raw)
	default:
		row, err := rd.row(ctx, rd.stream, rd.child, r.key)
		if err != nil || row == nil || !rd.consider(*row) {
			return err
		}
		return rd.emit(row.raw)
	}
}

// consider tells whether a row is to be emitted.
func (rd *reader) consider(r record) bool {
	if r.time.Before(rd.first) { // WHOOP also gives what lasted until then
		return false
	}
	if rd.tracker != nil {
		return rd.tracker.consider(r)
	}
	if rd.emitted[r.key] {
		return false
	}
	rd.emitted[r.key] = true
	return true
}

// finish ends a stream whose walk is done.
func (rd *reader) finish(ctx context.Context) error {
	if rd.tracker == nil {
		return rd.complete(json.RawMessage(fullRefreshDone))
	}
	findings, more := rd.tracker.findings()
	for _, f := range findings {
		if err := rd.resolve(ctx, f); err != nil {
			return err
		}
	}
	if more {
		rd.out.Logger().Warn("more rows from before the lookback changed or vanished than could be told one by one; "+
			"the next sync reads the stream from its beginning. Refresh the stream to be rid of rows that vanished", "stream", rd.name)
	}
	rd.tracker.finish(rd.end, more)
	raw, err := rd.tracker.checkpoint()
	if err != nil {
		return err
	}
	return rd.complete(raw)
}

// resolve asks WHOOP for a row that did not come or that is different. Pages can
// miss a row when others appear or vanish while they are read, so only WHOOP
// itself can say that one is gone.
func (rd *reader) resolve(ctx context.Context, f finding) error {
	r, err := rd.row(ctx, rd.stream, rd.item, f.key)
	if err != nil {
		return err
	}
	switch emit, gone := rd.tracker.resolve(f, r); {
	case emit:
		return rd.emit(r.raw)
	case gone:
		return rd.emit(tombstone(rd.key, f.key, rd.client.Now()))
	}
	return nil
}

// readObject reads a stream that is one object.
func (rd *reader) readObject(ctx context.Context) error {
	raw, err := rd.profile.raw, rd.profile.err
	if err == nil && rd.object != profilePath {
		member, perr := userID(raw)
		if perr != nil {
			return perr
		}
		if raw, err = rd.client.Get(ctx, rd.object); err == nil {
			raw, err = withMember(raw, member, rd.client.Now())
		}
	}
	switch {
	case missing(err): // a member without a body measurement
	case err != nil:
		return err
	default:
		if err := rd.emit(raw); err != nil {
			return err
		}
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
	raw, err := rd.tracker.checkpoint()
	if err != nil {
		return err
	}
	return rd.state(raw)
}

func (rd *reader) state(raw json.RawMessage) error {
	if err := rd.out.State(protocol.NewStreamState(rd.id(), raw)); err != nil {
		return outputError{err}
	}
	return nil
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
