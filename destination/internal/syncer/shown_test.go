package syncer

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"testing"
)

// A source may send a status of a stream with each of its pages, and one of other streams than the catalog has may have
// thousands of them.
func TestTheUserReadsOnceOfAStreamThatTheCatalogDoesNotHave(t *testing.T) {
	status := func(stream string) string {
		return fmt.Sprintf(`{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":%q},"status":"RUNNING"}}}`, stream)
	}
	var each, many []string
	for _, stream := range []string{"a", "nap", "step"} {
		each = append(each, status(stream), status(stream))
	}
	for n := range 10 * maxShown {
		many = append(many, status(fmt.Sprint("stream", n)))
	}
	for name, tt := range map[string]struct {
		lines []string
		want  int
	}{
		"two of them":  {append(each, each...), 2},
		"very many":    {append(many, many...), maxShown},
		"none of them": {[]string{status("a"), status("b")}, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, _ := newTestRun(t, sameCatalog)
			var log bytes.Buffer
			r.log = slog.New(slog.NewTextHandler(&log, nil))
			r.dispatchLines(t, tt.lines...)
			if got := strings.Count(log.String(), "not in the catalog"); got != tt.want {
				t.Errorf("%d warnings, want %d:\n%s", got, tt.want, &log)
			}
		})
	}
}
