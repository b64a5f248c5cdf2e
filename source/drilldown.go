package main

// A drill-down stream has the same rows as a collection, or some of them, under the
// name of the operation that returns one of them: GET /v2/cycle/{id}/recovery gives
// the rows of recovery_for_cycle. It follows a parent, the collection whose keys that
// operation takes. There are two ways to read it:
//
//   - derive: from its own collection, which is walked anyway. WHOOP sends the same
//     fields in both, so this takes no further requests.
//   - request: the parent is walked, and the row of each parent record is requested.
//     For a full walk that would be too many requests, so it is derived.
//
// This file also reads single rows by their key, for every stream.

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// byRequest reports whether the stream is read with a request for each parent
// record. A full walk would need too many requests: it reads the stream from its
// own collection.
func (rd *reader) byRequest() bool {
	return rd.stream.parent != "" && rd.run.session.config.Drilldowns == config.Request && !rd.fullWalk
}

// walkedCollection is the collection to walk for the stream.
func (rd *reader) walkedCollection() string {
	if rd.byRequest() {
		return rd.stream.parent
	}
	return rd.stream.collection
}

// requestRows requests the row of each parent record. If the parent is the same
// record as the row, only those that have changed are requested. WHOOP lists these, so
// one that it does not know is requested again after the others. If WHOOP still does not
// know it, it is no row, and the next sync requests it again.
func (rd *reader) requestRows(ctx context.Context, parents []changes.Record) error {
	sameRecord := rd.stream.parent == rd.stream.collection
	parents = slices.DeleteFunc(slices.Clone(parents), func(r changes.Record) bool {
		if sameRecord {
			return !rd.isChange(r)
		}
		if r.Key == "" {
			rd.warnOfParentWithoutKey(r)
			return true
		}
		if rd.requested[r.Key] { // it lies across two slices
			return true
		}
		rd.requested[r.Key] = true
		return r.Untracked == "" && !r.Open && r.End.Before(rd.readFrom) // another stream starts the walk further back
	})
	unknown, err := rd.requestEach(ctx, parents)
	if err == nil && sameRecord {
		_, err = rd.requestEach(ctx, unknown)
	}
	return err
}

// requestEach requests the row of each parent record, emits those that are changes, and
// returns the parents of which WHOOP knows no row.
func (rd *reader) requestEach(ctx context.Context, parents []changes.Record) (unknown []changes.Record, err error) {
	get := func(ctx context.Context, parent changes.Record) (*changes.Record, error) {
		if parent.Key == "" {
			return &parent, nil // it cannot be requested, and is the row itself
		}
		return rd.run.session.readRow(ctx, rd.stream, rd.stream.child, parent.Key)
	}
	err = prefetch(ctx, rd.run.session.client.Width, parents, get, func(parent changes.Record, row *changes.Record, err error) error {
		switch {
		case err != nil:
			return err
		case row == nil:
			unknown = append(unknown, parent)
			return nil
		case !rd.isChange(*row):
			return nil
		}
		return rd.emitRow(*row)
	})
	return unknown, err
}

func (rd *reader) warnOfParentWithoutKey(parent changes.Record) {
	if !rd.parentWithoutKey {
		rd.run.session.out.Logger().Warn("a parent record has no key, so the row that belongs to it cannot be requested and is not emitted; set drilldowns to derive to read it. This is the first one of the stream",
			"stream", rd.stream.name, "parent", rd.stream.parent, "why", parent.Untracked)
	}
	rd.parentWithoutKey = true
}

// includedRows returns those records of a slice that are rows of the stream. A cycle can
// have several that qualify, for example when a nap became a sleep. WHOOP then shows
// one of them and does not document which, so it is requested. The cycles at the ends of
// the slice may have others outside it, so theirs is requested too, unless the state has
// the record. A record without a cycle is a row of its own.
func (rd *reader) includedRows(ctx context.Context, records []changes.Record, s timeSlice) ([]changes.Record, error) {
	perCycle := map[string]int{}
	for _, r := range records {
		if rd.stream.include(r) {
			perCycle[r.Cycle]++
		}
	}
	cut := rd.cutCycles(records, s)
	shownKey := map[string]string{} // by cycle
	var rows []changes.Record
	for _, r := range records {
		if !rd.stream.include(r) || r.Untracked == "" && r.Time.Before(rd.readFrom) {
			continue
		}
		if r.Cycle != "" && (perCycle[r.Cycle] > 1 || cut[r.Cycle] && (rd.tracker == nil || !rd.tracker.Knows(r))) {
			if _, requested := shownKey[r.Cycle]; !requested {
				row, err := rd.run.session.readRow(ctx, rd.stream, rd.stream.child, r.Cycle)
				if err != nil {
					return nil, err
				}
				shownKey[r.Cycle] = ""
				if row != nil {
					shownKey[r.Cycle] = row.Key
				}
			}
			if shownKey[r.Cycle] != r.Key {
				continue
			}
		}
		rows = append(rows, r)
	}
	return rows, nil
}

// cutCycles returns the cycles of which a slice may hold only a part: that of its first
// record and, unless it ends now, that of its last one.
func (rd *reader) cutCycles(records []changes.Record, s timeSlice) map[string]bool {
	cut := map[string]bool{}
	if len(records) > 0 && !s.from.IsZero() {
		cut[records[0].Cycle] = true
	}
	if len(records) > 0 && s.to.Before(rd.run.end) {
		cut[records[len(records)-1].Cycle] = true
	}
	return cut
}

// readItem reads one row by its key; nil if there is none.
func (rd *reader) readItem(ctx context.Context, key string) (*changes.Record, error) {
	r, err := rd.run.session.readRow(ctx, rd.stream, rd.stream.item, key)
	if err != nil || r == nil || rd.stream.include == nil || r.Cycle == "" {
		return r, err
	}
	shown, err := rd.run.session.readRow(ctx, rd.stream, rd.stream.child, r.Cycle)
	if err != nil || shown == nil || shown.Key != key {
		return nil, err
	}
	return shown, nil
}

// readRow reads the record at a path with a key; nil if WHOOP has none, or if it
// is no row of the stream. An answer without a record, or with another one
// than was requested, does not mean that there is none: it is an error.
func (s *session) readRow(ctx context.Context, st stream, path, key string) (*changes.Record, error) {
	raw, err := s.client.Get(ctx, pathOf(path, key))
	if missing(err) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	r := changes.ParseRecord(raw, st.key)
	switch {
	case r.Key == "":
		return nil, &whoop.UnavailableError{Path: pathOf(path, key), Err: errors.New("the answer has no " + st.key)}
	case path == st.item && !sameID(r.Key, key):
		return nil, &whoop.UnavailableError{Path: pathOf(path, key), Err: fmt.Errorf("the answer has the %s %s", st.key, changes.Shown(r.Key))}
	}
	if st.include != nil && !st.include(r) {
		return nil, nil
	}
	return &r, nil
}
