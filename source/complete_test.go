package main

import (
	"net/http"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Whichever page of a collection cannot be read, its stream is not complete, no state says
// that it is, and the other streams are read. With all pages it has all records.
func TestAStreamIsCompleteOnlyWithAllItsPages(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		for broken := 1; ; broken++ {
			w := young(t, 4, 100, nil)
			pages := map[string]bool{} // that were asked for
			w.source.http = roundTrip(func(r *http.Request) (*http.Response, error) {
				if strings.HasSuffix(r.URL.Path, workoutCollection) {
					address := r.URL.String()
					if len(pages) == broken-1 && !pages[address] {
						return &http.Response{StatusCode: http.StatusServiceUnavailable, Header: http.Header{}, Body: http.NoBody, Request: r}, nil
					}
					pages[address] = true
				}
				return inProcess{w.server}.RoundTrip(r)
			})
			r := w.read(catalog(t, protocol.Incremental, "cycles", "workout"))
			workout, cycles := protocol.StreamID{Name: "workout"}, protocol.StreamID{Name: "cycles"}
			last := func(id protocol.StreamID) protocol.StreamStatus { s := r.Statuses(id); return s[len(s)-1] }
			if last(cycles) != protocol.Complete {
				t.Errorf("page %d of the workouts: the cycles are %s", broken, last(cycles))
			}
			if last(workout) == protocol.Complete {
				if want := w.server.Oracle().Records("workout", w.clock.Now()); broken < 4 || r.Code != 0 || len(r.Records(workout)) != len(want) {
					t.Errorf("complete after %d pages with exit code %d and %d of %d records", broken-1, r.Code, len(r.Records(workout)), len(want))
				}
				return
			}
			if r.Code != 1 || len(r.Errors()) != 1 {
				t.Errorf("page %d: exit code %d, errors %v", broken, r.Code, r.Errors())
			}
			for _, s := range r.States() {
				if s.Stream == workout {
					t.Errorf("page %d: a state of the workouts: %s", broken, s.Raw)
				}
			}
		}
	})
}
