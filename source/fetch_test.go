package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// fetchFrom is a walk over sleeps that an API answers.
func fetchFrom(answer http.HandlerFunc) *walk {
	out := protocol.NewEmitter(io.Discard, protocol.EmitterOptions{})
	client := whoop.New(whoop.Config{
		URL: "https://whoop.invalid", Tokens: anyToken{}, RequestsPerSecond: 1000, HTTP: inProcess{answer}, Log: out.Logger(),
		Excerpt: func(text string, _ int) string { return text }, Waiting: func(time.Time) error { return nil },
	})
	return &walk{run: &run{session: &session{out: out, client: client}, end: opening}, collection: sleepCollection}
}

// sleepVersion is a record with a key and the day of its last update.
func sleepVersion(id, updated int) string {
	return fmt.Sprintf(`{"id":"00000000-0000-4000-8000-%012d","start":"2026-01-01T00:00:00Z","updated_at":"2026-01-%02dT00:00:00Z"}`, id, updated)
}

// halved answers a slice of more than two days with a page token that leads nowhere, and
// the halves of four days with a function's answers.
func halved(half func(w http.ResponseWriter, newer bool)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		start, err1 := time.Parse(time.RFC3339Nano, r.URL.Query().Get("start"))
		end, err2 := time.Parse(time.RFC3339Nano, r.URL.Query().Get("end"))
		switch {
		case errors.Join(err1, err2) != nil:
			http.Error(w, "no slice", http.StatusNotFound)
		case end.Sub(start) > 2*day:
			fmt.Fprint(w, `{"records":[],"next_token":"the same"}`)
		default:
			half(w, end.Equal(opening))
		}
	}
}

// Both halves of a slice can hold a record, and it can change between their readings.
func TestHalvesOfASliceAreOneReading(t *testing.T) {
	for _, updated := range []struct{ older, newer int }{{2, 3}, {3, 2}} {
		w := fetchFrom(halved(func(w http.ResponseWriter, newer bool) {
			if newer {
				fmt.Fprintf(w, `{"records":[%s,%s]}`, sleepVersion(2, 1), sleepVersion(1, updated.newer))
			} else {
				fmt.Fprintf(w, `{"records":[%s,%s]}`, sleepVersion(1, updated.older), sleepVersion(3, 1))
			}
		}))
		records, err := w.fetch(t.Context(), timeSlice{opening.Add(-4 * day), opening})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range records {
			got = append(got, string(r.Raw))
		}
		wantEqual(t, "records", got, []string{sleepVersion(3, 1), sleepVersion(1, 3), sleepVersion(2, 1)})
	}
}

// A record that shifts to another page while they are read is on both, and it can change in between.
func TestOfTwoRecordsWithOneKeyTheNewerCounts(t *testing.T) {
	older, newer, other := sleepVersion(1, 2), sleepVersion(1, 3), sleepVersion(2, 1)
	for _, pages := range [][2]string{{older + "," + other, newer}, {newer + "," + other, older}, {older + "," + newer, other + "," + newer}} {
		w := fetchFrom(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("nextToken") {
				fmt.Fprintf(w, `{"records":[%s]}`, pages[1])
			} else {
				fmt.Fprintf(w, `{"records":[%s],"next_token":"second"}`, pages[0])
			}
		})
		records, err := w.fetch(t.Context(), timeSlice{opening.Add(-day), opening})
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, r := range records {
			got = append(got, string(r.Raw))
		}
		slices.Sort(got)
		wantEqual(t, "records", got, []string{newer, other})
	}
}

// A half that cannot be read is not an empty one.
func TestAHalfThatFailsFailsTheSlice(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for _, newerFails := range []bool{false, true} {
			w := fetchFrom(halved(func(w http.ResponseWriter, newer bool) {
				if newer == newerFails {
					http.Error(w, "", http.StatusServiceUnavailable)
				} else {
					fmt.Fprintf(w, `{"records":[%s]}`, sleepVersion(1, 1))
				}
			}))
			if records, err := w.fetch(t.Context(), timeSlice{opening.Add(-4 * day), opening}); err == nil {
				t.Errorf("newer half %v: %d records and no error", newerFails, len(records))
			}
		}
	})
}

// Two readings agree if they have the same records, and not if they have as many.
func TestReadingsAgreeOnTheSameRecords(t *testing.T) {
	for name, tt := range map[string]struct {
		readings []int // the id of the one record that changes
		want     string
	}{
		"at once":      {[]int{5, 5, 6}, sleepVersion(5, 1)},
		"later":        {[]int{5, 6, 7, 7, 8}, sleepVersion(7, 1)},
		"not in a row": {[]int{5, 6, 5, 6, 6}, sleepVersion(6, 1)},
		"never":        {[]int{5, 6, 7, 8, 9}, ""},
		"by turns":     {[]int{5, 6, 5, 6, 5}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			reading := 0
			w := fetchFrom(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Query().Has("nextToken") {
					fmt.Fprintf(w, `{"records":[%s]}`, sleepVersion(1, 1))
					return
				}
				fmt.Fprintf(w, `{"records":[%s],"next_token":"second"}`, sleepVersion(tt.readings[reading], 1))
				reading++
			})
			w.untilAgreed = true
			records, err := w.fetch(t.Context(), timeSlice{opening.Add(-4 * day), opening})
			if (err == nil) != (tt.want != "") {
				t.Fatalf("%d records, error %v", len(records), err)
			}
			if err == nil && (len(records) != 2 || string(records[1].Raw) != tt.want) {
				t.Errorf("the records are %+v", records)
			}
		})
	}
}
