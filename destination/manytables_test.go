package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A gate lets requests through once so many are waiting at it.
type gate struct {
	mu      sync.Mutex
	waiting int
	open    chan struct{}
}

func (g *gate) pass(needed int) bool {
	g.mu.Lock()
	g.waiting++
	if g.waiting == needed {
		close(g.open)
	}
	g.mu.Unlock()
	select {
	case <-g.open:
		return true
	case <-time.After(time.Minute): // where fewer come at once, none would ever pass
		return false
	}
}

// The latency of S3 is not paid for one table after another: many are opened, written and
// committed at the same time.
func TestManyTablesAreWrittenAtOnce(t *testing.T) {
	const tables, atOnce = 24, 16
	opening, writing, committing := &gate{open: make(chan struct{})}, &gate{open: make(chan struct{})}, &gate{open: make(chan struct{})}
	l := s3Lake(t, s3test.Config(s3test.Start(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at := opening
			select {
			case <-writing.open: // files are written before the first commit
				at = committing
			default:
			}
			switch {
			case s3test.Operation(r) != "PutObject":
				at = nil
			case strings.Contains(r.URL.Path, "/data/"):
				at = writing
			}
			if at != nil && !at.pass(atOnce) {
				t.Errorf("%s: fewer than %d such requests at once", r.URL.Path, atOnce)
			}
			h.ServeHTTP(w, r)
		})
	})))
	catalog, input := manyStreams(tables)
	out := l.succeeds(input, "write", "--catalog", protocoltest.File(t, catalog))
	if n := strings.Count(out, `"type":"STATE"`); n != tables {
		t.Errorf("%d states were echoed", n)
	}
}

// manyStreams are the catalog of so many streams, and a record and a state for each.
func manyStreams(n int) (catalog, input string) {
	var streams []string
	var messages strings.Builder
	for i := range n {
		streams = append(streams, fmt.Sprintf(`{"stream":{"name":"s%d","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"}`, i))
		fmt.Fprintf(&messages, `{"type":"RECORD","record":{"stream":"s%d","emitted_at":1700000000000,"data":{"id":1}}}`+"\n", i)
		fmt.Fprintf(&messages, `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s%d"},"stream_state":{"n":1}}}}`+"\n", i)
	}
	return `{"streams":[` + strings.Join(streams, ",") + `]}`, messages.String()
}

// Nor does maintenance pay it for one table after another, after a write and on demand. What it
// did is printed in the order of the tables.
func TestManyTablesAreMaintainedAtOnce(t *testing.T) {
	const tables, atOnce = 24, 16
	var listing atomic.Pointer[gate]
	l := s3Lake(t, s3test.Config(s3test.Start(func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			at := listing.Load()
			if s3test.Operation(r) == "ListObjectsV2" && strings.Contains(r.URL.Query().Get("prefix"), ".db/") && at != nil && !at.pass(atOnce) {
				t.Errorf("fewer than %d tables are listed at once", atOnce)
			}
			h.ServeHTTP(w, r)
		})
	})))
	catalog, input := manyStreams(tables)
	streams := protocoltest.File(t, catalog)
	l.succeeds(input, "write", "--catalog", streams)
	var names []string
	for i := range tables {
		names = append(names, fmt.Sprintf("s%d", i))
	}
	l.lookedForOrphans(time.Now().AddDate(0, 0, -2), names...)
	afterWrite := &gate{open: make(chan struct{})}
	listing.Store(afterWrite)
	l.succeeds(input, "write", "--catalog", streams)
	if afterWrite.waiting != tables {
		t.Errorf("%d tables looked for orphans after the write", afterWrite.waiting)
	}

	listing.Store(&gate{open: make(chan struct{})})
	slices.Sort(names)
	want := ""
	for _, name := range names {
		want += "airbyte." + name + ": nothing to do\n"
	}
	if got := l.succeeds("", "maintain"); got != want {
		t.Errorf("maintain printed\n%s", got)
	}
}
