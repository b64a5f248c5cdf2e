package snowflake

import (
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A linked database is only looked at.
func TestALinkedDatabaseIsLookedAt(t *testing.T) {
	t.Parallel()
	linked := map[string]any{"mode": "linked", "catalog_integration": nil, "external_volume": nil, "required": true}
	for name, tc := range map[string]struct {
		link, table string // what Snowflake says
		want        string // "": all is well
	}{
		"follows":      {`{"executionState":"RUNNING","failureDetails":[]}`, `{"executionState":"RUNNING"}`, ""},
		"not yet":      {`{"executionState":"RUNNING","failureDetails":[]}`, ``, ""},
		"recovers":     {`{"executionState":"RUNNING","failureDetails":[]}`, `{"executionState":"STALLED"}`, ""},
		"not told":     {``, `{"executionState":"RUNNING"}`, ""},
		"failed":       {`{"executionState":"FAILED","failureDetails":[{"errorMessage":"no access"}]}`, `{"executionState":"RUNNING"}`, "no access"},
		"table failed": {`{"executionState":"RUNNING","failureDetails":[]}`, `{"executionState":"STOPPED"}`, `ALTER ICEBERG TABLE "LAKE"."whoop"."sleep" REFRESH;`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newReadyWorld(t, "ICEBERG_REST")
			w.account.LinkStatus = map[string]string{"LAKE": tc.link}
			if tc.table != "" {
				w.account.RefreshStatus = map[string]string{"LAKE.whoop.sleep": tc.table}
			}
			sleep := w.open("whoop", "sleep", "")
			w.commit(sleep)
			f := w.refresher(linked, sleep)
			f.Committed(t.Context(), nil)
			for _, err := range []error{f.Finish(t.Context()), w.check(linked, sleep)} {
				if tc.want == "" && err != nil {
					t.Error(err)
				}
				if tc.want != "" {
					expectError(t, err, protocol.ConfigError, tc.want)
				}
			}
			for _, statement := range w.account.Statements() {
				if !strings.HasPrefix(statement, "SELECT") {
					t.Errorf("a linked database was sent %s", statement)
				}
			}
		})
	}
	t.Run("not there", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		expectError(t, w.check(linked), protocol.ConfigError, "there is no catalog-linked database", "LINKED_CATALOG = (CATALOG = '<catalog integration>'")
	})
}
