package main

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
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
	var streams []string
	var input strings.Builder
	for i := range tables {
		streams = append(streams, fmt.Sprintf(`{"stream":{"name":"s%d","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"}`, i))
		fmt.Fprintf(&input, `{"type":"RECORD","record":{"stream":"s%d","emitted_at":1700000000000,"data":{"id":1}}}`+"\n", i)
		fmt.Fprintf(&input, `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s%d"},"stream_state":{"n":1}}}}`+"\n", i)
	}
	out := l.succeeds(input.String(), "write", "--catalog", protocoltest.File(t, `{"streams":[`+strings.Join(streams, ",")+`]}`))
	if n := strings.Count(out, `"type":"STATE"`); n != tables {
		t.Errorf("%d states were echoed", n)
	}
}
