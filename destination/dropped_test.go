package main

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs/resttest"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// Other programs make and drop tables all the time. One that goes while a verb looks at all of them is nothing that went
// wrong; one that is listed and cannot be loaded is.
func TestATableIsDroppedMeanwhile(t *testing.T) {
	var dropped, lost atomic.Bool
	catalogServer := &resttest.Server{Front: func(h http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			isTable := strings.HasSuffix(r.URL.Path, "/tables/b")
			if isTable && dropped.CompareAndSwap(true, false) {
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequestWithContext(r.Context(), http.MethodDelete, r.URL.Path, nil))
			}
			if isTable && lost.Load() {
				(&resttest.Refusal{Code: http.StatusNotFound, Type: "NoSuchTableException", Message: "b: metadata is lost"}).Write(w)
				return
			}
			h.ServeHTTP(w, r)
		})
	}}
	warehouse := "file://" + t.TempDir()
	l := &lakeUnderTest{t: t, d: unsignalled(), config: protocoltest.File(t, restLake(t, catalogServer, warehouse, `{"type":"local"}`))}
	catalog, input := "", ""
	for _, name := range []string{"a", "b", "c"} {
		catalog += `,{"stream":{"name":"` + name + `","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"}`
		input += `{"type":"RECORD","record":{"stream":"` + name + `","emitted_at":1,"data":{"id":1}}}` + "\n" +
			`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"` + name + `"},"stream_state":{}}}}` + "\n"
	}
	catalog = protocoltest.File(t, `{"streams":[`+catalog[1:]+`]}`)
	for _, verb := range [][]string{{"tables", "--json"}, {"maintain"}, {"report", "--output", "-"}} {
		l.succeeds(input, "write", "--catalog", catalog)
		dropped.Store(true)
		out := l.succeeds("", verb...)
		if dropped.Load() || strings.Contains(out, "airbyte.b") || !strings.Contains(out, "airbyte.a") || !strings.Contains(out, "airbyte.c") {
			t.Errorf("%s, b was dropped: %t: %s", verb, !dropped.Load(), out)
		}
		l.succeeds(input, "write", "--catalog", catalog)
		lost.Store(true)
		if out, code := l.do("", verb...); code != 1 || !strings.Contains(out, "airbyte.b") {
			t.Errorf("%s, b is lost: exit code %d: %s", verb, code, out)
		}
		lost.Store(false)
	}
}
