//go:build acceptance

package acceptance

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

// Glue cannot rename: a table is made under the new name, the old one is marked, and then dropped. Wherever a process is
// killed between these, the rows are there under one name, and what it says about the other leads to one name alone.
func TestARenameInGlueIsKilled(t *testing.T) {
	t.Parallel()
	store, glue := serve(t, programs().VersityGW), serve(t, programs().Moto)
	for _, tc := range []struct{ before, says string }{
		{"UpdateTable", "whoop.items is there under the name whoop.things, too"},
		{"DeleteTable", "whoop.items is being renamed in Glue"},
	} {
		t.Run("before "+tc.before, func(t *testing.T) {
			var killed atomic.Pointer[exec.Cmd]
			front := httptest.NewServer(servers.Front(glue.Endpoint, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if cmd := killed.Load(); cmd != nil && purpose(r) == tc.before {
						if err := cmd.Process.Kill(); err != nil {
							t.Error(err)
						}
						panic(http.ErrAbortHandler)
					}
					next.ServeHTTP(w, r)
				})
			}))
			t.Cleanup(front.Close)
			on := func(endpoint string) map[string]any {
				return map[string]any{
					"warehouse": "s3://" + servers.Bucket + "/" + tc.before, "storage": store.Storage(),
					"catalog": map[string]any{"type": "glue", "endpoint": endpoint, "region": tc.before},
				}
			}
			l, through := newLake(t, t.TempDir(), on(glue.Endpoint)), newLake(t, t.TempDir(), on(front.URL))
			l.write(l.configure("items", `{"type":"object","properties":{"id":{"type":"integer"}}}`, nil, "id"), messages("items", `{"id":1}`, `{"id":2}`))

			cmd := l.launch.command(t.Context(), destination, "rename", "whoop.items", "things", "--config", through.config)
			killed.Store(cmd)
			if out, err := finish(cmd); err == nil {
				t.Fatalf("it was not killed: %s", out)
			}
			if out, err := l.launch.command(t.Context(), destination, "rename", "whoop.items", "things", "--config", l.config).CombinedOutput(); err == nil || !strings.Contains(string(out), tc.says) || !strings.Contains(string(out), "drop whoop.items --keep-files") {
				t.Errorf("renamed again: %v: %s", err, out)
			}
			if n := len(l.preview("whoop.things")); n != 2 {
				t.Errorf("%d rows under the new name", n)
			}
			l.run("maintain", "--config", l.config)
			l.run("drop", "whoop.items", "--keep-files", "--config", l.config)
			l.run("maintain", "--config", l.config)
			if n := len(l.preview("whoop.things")); n != 2 {
				t.Errorf("%d rows under the new name alone", n)
			}
			if out := l.run("tables", "--config", l.config); strings.Contains(string(out), "items") {
				t.Errorf("the old name is there: %s", out)
			}
		})
	}
}
