package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

const (
	// shortestSlice is not halved.
	shortestSlice = time.Hour
	// maxReadings is how often a slice is read until two readings agree.
	maxReadings = 5
)

// fetch reads the records of a slice, oldest first.
//
// A record that vanishes between two pages shifts the others, and one of them is
// missed. An incremental stream finds it later: the next sync reads the window again,
// and the next full walk what is older. (A row that it knows and that did not come it
// requests by its key; see endWalk.) Where no later sync looks again, a slice of several
// pages is read until two readings in a row have the same keys.
func (w *walk) fetch(ctx context.Context, s timeSlice) ([]changes.Record, error) {
	var previous map[string]bool
	for range maxReadings {
		records, pages, err := w.readPages(ctx, s)
		var paging *whoop.PagingError
		if errors.As(err, &paging) {
			older, newer, ok := s.halves()
			if !ok {
				return nil, err
			}
			first, err := w.fetch(ctx, older)
			if err != nil {
				return nil, err
			}
			second, err := w.fetch(ctx, newer)
			if err != nil {
				return nil, err
			}
			return newestVersions(append(first, second...)), nil // a record can be in both
		}
		if err != nil || !w.untilAgreed || pages == 1 {
			return records, err
		}
		keys := keySet(records)
		if maps.Equal(keys, previous) {
			return records, nil
		}
		previous = keys
	}
	return nil, &whoop.UnavailableError{Path: w.collection, Err: fmt.Errorf("the records from %s to %s were different each time they were read", s.from, s.to)}
}

// halves splits a slice whose page tokens do not work: a shorter one needs fewer. ok
// says whether the slice is long enough for that.
func (s timeSlice) halves() (older, newer timeSlice, ok bool) {
	if s.from.IsZero() {
		// Nobody knows how far back it reaches, so its last part is cut off instead.
		middle := s.to.Add(-sliceLength)
		return timeSlice{s.from, middle}, timeSlice{middle, s.to}, middle.Year() > 1970
	}
	length := s.to.Sub(s.from)
	middle := s.from.Add(length / 2)
	return timeSlice{s.from, middle}, timeSlice{middle, s.to}, length > shortestSlice
}

func keySet(records []changes.Record) map[string]bool {
	keys := make(map[string]bool, len(records))
	for _, r := range records {
		keys[r.Key] = true
	}
	return keys
}

// readPages reads a slice once.
func (w *walk) readPages(ctx context.Context, s timeSlice) (records []changes.Record, pages int, err error) {
	key := streamOf(w.collection).key
	for page, err := range w.run.session.client.Pages(ctx, w.collection, s.from, s.to) {
		if err != nil {
			return nil, pages, err
		}
		pages++
		for _, raw := range page.Records {
			records = append(records, changes.ParseRecord(raw, key))
		}
		if len(records) > 0 { // pages come newest first
			w.run.session.out.Progress().Doing(fmt.Sprintf("reading %s back to %s", streamOf(w.collection).name, records[len(records)-1].Time.Format(time.DateOnly)))
		}
	}
	slices.Reverse(records)
	return newestVersions(records), pages, nil
}

// newestVersions keeps one record per key, the one that was updated last, and all
// without a key. When pages shift while they are read, a record can come twice, and so
// can one that lies across two slices. The result is in the memory of records.
func newestVersions(records []changes.Record) []changes.Record {
	at := map[string]int{}
	kept := records[:0]
	for _, r := range records {
		if i, twice := at[r.Key]; twice && r.Key != "" {
			if r.Updated.After(kept[i].Updated) {
				kept[i] = r
			}
			continue
		}
		at[r.Key] = len(kept)
		kept = append(kept, r)
	}
	return kept
}
