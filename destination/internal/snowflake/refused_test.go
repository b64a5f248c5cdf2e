package snowflake

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake/snowflaketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A sync that Snowflake refuses says what is missing, as a warning or with required as
// an error, and undoes nothing. When it is there, the next sync shows all.
func TestASyncThatSnowflakeRefuses(t *testing.T) {
	t.Parallel()
	type refusal struct {
		without     string       // a line of the setup
		spoil, mend func(*world) // spoil is nil if Snowflake has not shown the table yet
		settings    map[string]any
		kind        protocol.Kind
		want        string
	}
	run := func(script string) func(*world) { return func(w *world) { w.run(script) } }
	cases := map[string]refusal{
		"not the owner": {
			"", run("GRANT OWNERSHIP ON ICEBERG TABLE LAKE.WHOOP.SLEEP TO ROLE OTHER;\nGRANT USAGE ON ICEBERG TABLE LAKE.WHOOP.SLEEP TO ROLE LOADERS;"),
			run("GRANT OWNERSHIP ON ICEBERG TABLE LAKE.WHOOP.SLEEP TO ROLE LOADERS COPY CURRENT GRANTS;"), nil, protocol.ConfigError, "Insufficient privileges",
		},
		"an invalid token": {
			"", func(w *world) { w.account.Users["LOADER"].Token = "new" }, func(w *world) { w.account.Users["LOADER"].Token = "pat" },
			map[string]any{"auth": map[string]any{"type": "pat", "token": "pat"}},
			protocol.ConfigError, "ADD PROGRAMMATIC ACCESS TOKEN",
		},
		"a role of others": {
			"", func(w *world) { w.account.Users["LOADER"].Roles = []string{"PUBLIC"} }, func(w *world) { w.account.Users["LOADER"].Roles = []string{"LOADERS"} },
			map[string]any{"role": "loaders"},
			protocol.ConfigError, `GRANT ROLE "LOADERS" TO USER "LOADER";`,
		},
	}
	for line := range strings.Lines(setup) {
		if strings.HasPrefix(line, "GRANT") {
			cases["without "+strings.TrimSpace(line)] = refusal{without: line, mend: run(line), kind: protocol.ConfigError, want: "Role LOADERS may not do this"}
		}
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.account.Users["LOADER"].Token = "pat"
			w.run(strings.NewReplacer("'%s'", "'"+w.warehouse()+"/'", "%s", "OBJECT_STORE").Replace(strings.Replace(setup, tc.without, "", 1)))
			sleep := w.open("whoop", "sleep", "")
			w.commit(sleep)
			if tc.spoil != nil {
				if err := w.refresher(tc.settings, sleep).Finish(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.expectShown(sleep, "WHOOP", "SLEEP")
				w.commit(sleep)
				tc.spoil(w)
			}
			w.expectQuiet()
			w.expectRefused(sleep, tc.settings, tc.kind, tc.want)
			tc.mend(w)
			w.log.Reset()
			if err := w.refresher(tc.settings, sleep).Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.expectShown(sleep, "WHOOP", "SLEEP")
			w.expectQuiet()
		})
	}
}

// expectRefused fails unless Snowflake does not show a table, and a sync says why and
// leaves the table as it is but for the tag.
func (w *world) expectRefused(sleep *lake.Table, settings map[string]any, kind protocol.Kind, want string) {
	w.t.Helper()
	current := laketest.Load(w.t, sleep).CurrentSnapshot().SnapshotID
	began := time.Now()
	if err := w.refresher(settings, sleep).Finish(w.t.Context()); err != nil {
		w.t.Error(err)
	}
	if took := time.Since(began); took > 30*time.Second {
		w.t.Errorf("it took %v", took)
	}
	if log := w.log.String(); strings.Count(log, "level=WARN") != 1 {
		w.t.Errorf("the warnings are %s", log)
	}
	required := map[string]any{"required": true}
	for key, value := range settings {
		required[key] = value
	}
	expectError(w.t, w.refresher(required, sleep).Finish(w.t.Context()), kind, "The rows and states are safe", want)
	if now := laketest.Load(w.t, sleep).CurrentSnapshot().SnapshotID; now != current {
		w.t.Errorf("the table had snapshot %d and has %d", current, now)
	}
}

// An account that does not exist, or that cannot be reached.
func TestAccountsThatAreNotThere(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		answer int // 0: nobody listens
		kind   protocol.Kind
		want   string
	}{
		"not found":       {http.StatusNotFound, protocol.ConfigError, `"snowflake.account"`},
		"forbidden":       {http.StatusForbidden, protocol.ConfigError, `"snowflake.account"`},
		"nobody listens":  {0, protocol.TransientError, "cannot be reached"},
		"always too busy": {http.StatusServiceUnavailable, protocol.TransientError, "cannot be reached"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			inBubble(t, func(t *testing.T, w *world) {
				endpoint := "http://127.0.0.1:1"
				if tc.answer != 0 {
					endpoint = w.network.Serve(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(tc.answer) }))
				}
				sleep := w.open("whoop", "sleep", "")
				w.commit(sleep)
				w.expectRefused(sleep, map[string]any{"endpoint": endpoint}, tc.kind, tc.want)
				w.log.Reset()
				if err := w.refresher(nil, sleep).Finish(t.Context()); err != nil {
					t.Fatal(err)
				}
				w.expectShown(sleep, "WHOOP", "SLEEP")
				w.expectQuiet()
			})
		})
	}
}

// Snowflake is left alone for a while after it did not answer, and then asked again.
func TestSnowflakeIsAskedAgain(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		hung := true
		w.account.Fault = func(string) snowflaketest.Fault {
			if hung {
				return snowflaketest.Unavailable
			}
			return snowflaketest.None
		}
		sleep := w.open("whoop", "sleep", "")
		w.commit(sleep)
		f := w.refresher(nil, sleep)
		f.Committed(t.Context(), []*lake.Table{sleep})
		hung = false
		time.Sleep(askAgainAfter - 1)
		f.Committed(t.Context(), []*lake.Table{sleep})
		if len(w.account.Statements()) > 0 || strings.Count(w.log.String(), "level=WARN") != 1 {
			t.Errorf("Snowflake was asked %q: %s", w.account.Statements(), w.log.String())
		}
		time.Sleep(time.Nanosecond)
		f.Committed(t.Context(), []*lake.Table{sleep})
		w.expectShown(sleep, "WHOOP", "SLEEP")
	})
}

// keepsNoReferences is a catalog that has no tags, as Nessie has none.
type keepsNoReferences struct{ lake.Catalog }

func (keepsNoReferences) KeepsBranches() bool { return false }

// Where a catalog keeps no tags, Snowflake is told of commits all the same.
func TestACatalogWithoutTags(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	w.cat = keepsNoReferences{w.cat}
	sleep := w.open("whoop", "sleep", "")
	f := w.refresher(map[string]any{"required": true}, sleep)
	for range 2 {
		w.commit(sleep)
		before := laketest.Load(t, sleep).MetadataLocation()
		f.Committed(t.Context(), []*lake.Table{sleep})
		if location, _ := w.account.Table("LAKE", "WHOOP", "SLEEP"); location != before || laketest.Load(t, sleep).MetadataLocation() != before {
			t.Errorf("Snowflake stands at %s, and the table was at %s", location, before)
		}
	}
	if err := f.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expectQuiet()
}
