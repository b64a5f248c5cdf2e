package snowflake

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake/snowflaketest"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestSnowflakeShowsEachCommit(t *testing.T) {
	t.Parallel()
	for source, settings := range map[string]map[string]any{
		"OBJECT_STORE": {},
		"GLUE":         {"catalog_source": "glue"},
		"ICEBERG_REST": {"catalog_source": "iceberg_rest", "external_volume": nil},
		"POLARIS":      {"catalog_source": "polaris"},
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			w := newReadyWorld(t, source)
			sleep, cycle, empty := w.open("whoop", "sleep", `,"at":{"type":"string","format":"date-time"},"n":{"type":"number"},"o":{"type":"object","properties":{"x":{"type":"boolean"}}}`), w.open("whoop", "cycle", ""), w.open("whoop", "empty", "")
			f := w.refresher(settings, sleep, cycle, empty)
			w.commit(sleep)
			w.commit(cycle)
			f.Committed(t.Context(), []*lake.Table{sleep, cycle})
			w.expectShown(sleep, "WHOOP", "SLEEP")
			w.expectShown(cycle, "WHOOP", "CYCLE")
			w.commit(sleep)
			f.Committed(t.Context(), []*lake.Table{sleep})
			w.expectShown(sleep, "WHOOP", "SLEEP")
			before := len(w.account.Statements())
			if err := f.Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			for _, statement := range w.account.Statements()[before:] {
				if !strings.HasPrefix(statement, "DESCRIBE ICEBERG TABLE") {
					t.Errorf("Snowflake shows all, and is sent %s", statement)
				}
			}
			if location, _ := w.account.Table("LAKE", "WHOOP", "EMPTY"); location != "" {
				t.Error("a table without a snapshot is registered")
			}
			w.expectQuiet()
		})
	}
}

// The next sync shows what the last one could not, also if it commits nothing.
func TestSnowflakeCatchesUp(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	sleep := w.open("whoop", "sleep", "")
	w.commit(sleep)
	if err := w.refresher(nil, sleep).Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expectShown(sleep, "WHOOP", "SLEEP")
	w.commit(sleep)
	sleep = w.open("whoop", "sleep", `,"name":{"type":"string"}`)
	if err := w.refresher(nil, sleep).Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expectShown(sleep, "WHOOP", "SLEEP")
	// A column without rows is shown, too.
	sleep = w.open("whoop", "sleep", `,"name":{"type":"string"},"more":{"type":"string"}`)
	if err := w.refresher(nil, sleep).Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	_, columns := w.account.Table("LAKE", "WHOOP", "SLEEP")
	if !slices.Contains(columns, snowflaketest.Column{Name: "more", Type: "VARCHAR(134217728)"}) {
		t.Errorf("Snowflake shows %v", columns)
	}
	w.expectQuiet()
}

// Names are upper-case or as they are, and each namespace has its schema unless one is
// set.
func TestNamesInSnowflake(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		settings map[string]any
		want     tableName
	}{
		"upper":    {nil, tableName{"LAKE", "WHOOP", "SLEEP"}},
		"preserve": {map[string]any{"identifier_case": "preserve"}, tableName{"LAKE", "whoop", "sleep"}},
		"schema":   {map[string]any{"schema": "other"}, tableName{"LAKE", "OTHER", "SLEEP"}},
		"quoted":   {map[string]any{"schema": `"my ""own"" schema"`, "database": `"Lake"`}, tableName{"Lake", `my "own" schema`, "SLEEP"}},
	} {
		t.Run(name, func(t *testing.T) {
			m, err := (&world{t: t, account: &snowflaketest.Account{}}).config(tc.settings).mode()
			if err != nil {
				t.Fatal(err)
			}
			if got := m.(*registerConfig).nameOf(tableSource{"whoop", "sleep"}); got != tc.want {
				t.Errorf("%v", got)
			}
		})
	}
}

func TestTwoTablesOfOneName(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	one, other := w.open("one", "sleep", ""), w.open("other", "sleep", "")
	settings := map[string]any{"schema": "whoop", "required": true}
	w.commit(one)
	w.commit(other)
	expectError(t, w.refresher(settings, one, other).Finish(t.Context()), protocol.ConfigError, "one.sleep and other.sleep", `"snowflake.schema"`)
	w.expectShown(one, "WHOOP", "SLEEP")
	// A sync of the other alone does not take the name away.
	expectError(t, w.refresher(settings, other).Finish(t.Context()), protocol.ConfigError, "LAKE.WHOOP.SLEEP is another one")
	w.expectShown(one, "WHOOP", "SLEEP")
}

// A snapshot that Snowflake shows does not expire while Snowflake cannot move on.
func TestWhatSnowflakeShowsDoesNotExpire(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	sleep := w.open("whoop", "sleep", "")
	w.commit(sleep)
	if err := w.refresher(nil, sleep).Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	// A process moves Snowflake to another snapshot and ends before it can pin it.
	w.commit(sleep)
	stands := laketest.Load(t, sleep).CurrentSnapshot().SnapshotID
	w.run(`ALTER ICEBERG TABLE LAKE.WHOOP.SLEEP REFRESH '` + relative(laketest.Load(t, sleep).MetadataLocation(), w.warehouse()) + `';`)
	w.commit(sleep)
	var refuse atomic.Bool
	refuse.Store(true)
	w.account.Read = func(location string) ([]snowflaketest.Column, error) {
		if refuse.Load() {
			return nil, errors.New("access denied")
		}
		return snowflaketest.ReadLocal(location)
	}
	if err := w.refresher(nil, sleep).Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(w.log.String(), "access denied") || !strings.Contains(w.log.String(), "level=WARN") {
		t.Errorf("no warning in %s", w.log.String())
	}
	for range 5 {
		w.commit(sleep)
	}
	laketest.Maintain(t, sleep, laketest.Everything)
	loaded := laketest.Load(t, sleep)
	if n := len(loaded.Metadata().Snapshots()); n != 2 || loaded.SnapshotByID(stands) == nil {
		t.Errorf("%d snapshots are left, and that of Snowflake is %v", n, loaded.SnapshotByID(stands))
	}
	for _, err := range inspect.Rows(t.Context(), at(t, loaded, stands), 0) {
		if err != nil {
			t.Fatal(err)
		}
	}
	refuse.Store(false)
	if err := w.refresher(nil, sleep).Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.expectShown(sleep, "WHOOP", "SLEEP")
}

// at is a table as it was at the first metadata file that has a snapshot as the current
// one.
func at(t *testing.T, loaded *table.Table, snapshot int64) *table.Table {
	t.Helper()
	files, err := filepath.Glob(strings.TrimPrefix(loaded.Location(), "file://") + "/metadata/*.metadata.json")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		old, err := table.NewFromLocation(t.Context(), loaded.Identifier(), "file://"+file, loaded.FS, nil)
		if err == nil && old.CurrentSnapshot() != nil && old.CurrentSnapshot().SnapshotID == snapshot {
			return old
		}
	}
	t.Fatalf("no metadata file has snapshot %d", snapshot)
	return nil
}

// Two writers move Snowflake at once. Whoever is last leaves it at the newest snapshot.
func TestTheSlowerWriterDoesNotMoveSnowflakeBack(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	ours, theirs := w.open("whoop", "sleep", ""), w.open("whoop", "sleep", "")
	w.commit(ours)
	f, other := w.refresher(nil, ours), w.refresher(nil, theirs)
	f.Committed(t.Context(), []*lake.Table{ours})
	w.commit(ours)
	var once atomic.Bool
	w.account.Fault = func(statement string) snowflaketest.Fault {
		if strings.Contains(statement, "REFRESH") && once.CompareAndSwap(false, true) {
			// The other writer is faster: it commits and moves Snowflake before our statement arrives.
			w.commit(theirs)
			other.Committed(t.Context(), []*lake.Table{theirs})
		}
		return snowflaketest.None
	}
	f.Committed(t.Context(), []*lake.Table{ours})
	w.expectShown(ours, "WHOOP", "SLEEP")
	w.expectQuiet()
}

// Whichever statement is lost, before it is done or after, or meets a server that is
// overloaded or a session that has expired, Snowflake shows the table in the end. The
// driver tries again.
func TestALostAnswerIsAskedForAgain(t *testing.T) {
	t.Parallel()
	for n, lost := range []string{"ALTER ICEBERG TABLE", snowflaketest.Login, "SELECT CURRENT_ROLE", "CREATE ICEBERG TABLE", "SELECT SYSTEM$GET", "DESCRIBE ICEBERG TABLE"} {
		for name, fault := range map[string]snowflaketest.Fault{"before": snowflaketest.DropBefore, "after": snowflaketest.DropAfter, "overloaded": snowflaketest.Unavailable, "expired": snowflaketest.Expired} {
			if lost == snowflaketest.Login && fault == snowflaketest.Expired {
				continue // there is no session yet
			}
			if (n+int(fault))%testsize.Of(3, 1) > 0 {
				continue
			}
			t.Run(lost+" "+name, func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, w *world) {
					var met atomic.Int32
					w.account.Fault = func(statement string) snowflaketest.Fault {
						if strings.HasPrefix(statement, lost) && met.Add(1) == 1 {
							return fault
						}
						return snowflaketest.None
					}
					sleep := w.open("whoop", "sleep", "")
					f := w.refresher(nil, sleep)
					for range 2 {
						w.commit(sleep)
						f.Committed(t.Context(), []*lake.Table{sleep})
					}
					if err := f.Finish(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.expectShown(sleep, "WHOOP", "SLEEP")
					w.expectQuiet()
					if met.Load() < 2 {
						t.Errorf("%s was sent %d times", lost, met.Load())
					}
				})
			})
		}
	}
}

// What Snowflake does not show is a warning, or with required the failure of the sync.
func TestRequired(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil func(*world)
		kind  protocol.Kind
		want  string
	}{
		"no privilege": {func(w *world) { w.account = newWorld(t).account }, protocol.ConfigError, "Run check"},
		"no key":       {func(w *world) { w.account.Users["LOADER"].PublicKey = nil }, protocol.ConfigError, "SET RSA_PUBLIC_KEY"},
		"no file": {func(w *world) {
			w.account.Read = func(string) ([]snowflaketest.Column, error) { return nil, os.ErrNotExist }
		}, protocol.ConfigError, "cannot be read"},
		"stands where it is": {func(w *world) { w.account.Current = nil }, protocol.ConfigError, "another one"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newReadyWorld(t, "OBJECT_STORE")
			sleep := w.open("whoop", "sleep", "")
			w.commit(sleep)
			tc.spoil(w)
			if name == "stands where it is" {
				other := w.open("whoop", "other", "")
				w.commit(other)
				w.run("CREATE ICEBERG TABLE IF NOT EXISTS LAKE.WHOOP.SLEEP EXTERNAL_VOLUME = 'V' CATALOG = 'I' METADATA_FILE_PATH = '" + relative(laketest.Load(t, other).MetadataLocation(), w.warehouse()) + "';\nGRANT OWNERSHIP ON ICEBERG TABLE LAKE.WHOOP.SLEEP TO ROLE LOADERS;")
			}
			f := w.refresher(map[string]any{"required": true}, sleep)
			f.Committed(t.Context(), []*lake.Table{sleep})
			if n := strings.Count(w.log.String(), "level=WARN"); n != 1 {
				t.Errorf("%d warnings: %s", n, w.log.String())
			}
			expectError(t, f.Finish(t.Context()), tc.kind, "The rows and states are safe", tc.want)
			w.log.Reset()
			if err := w.refresher(nil, sleep).Finish(t.Context()); err != nil || strings.Count(w.log.String(), "level=WARN") != 1 {
				t.Errorf("%v: %s", err, w.log.String())
			}
		})
	}
}

func TestColumnsThatDifferAreReported(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	sleep := w.open("whoop", "sleep", `,"n":{"type":"number"},"name":{"type":"string"}`)
	w.commit(sleep)
	f := w.refresher(nil, sleep)
	f.Committed(t.Context(), []*lake.Table{sleep})
	w.expectShown(sleep, "WHOOP", "SLEEP")
	_, columns := w.account.Table("LAKE", "WHOOP", "SLEEP")
	columns = slices.DeleteFunc(slices.Clone(columns), func(c snowflaketest.Column) bool { return c.Name == "name" })
	columns[0].Type = "NUMBER(10,0)"
	w.account.ShowColumns("LAKE", "WHOOP", "SLEEP", append(columns, snowflaketest.Column{Name: "OLD", Type: "DATE"}))
	if err := f.Finish(t.Context()); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"column id is NUMBER(10,0) there, and long in the table", "column name is missing", "column OLD is not in the table"} {
		if !strings.Contains(w.log.String(), want) {
			t.Errorf("no %q in %s", want, w.log.String())
		}
	}
}

// A sync that is told to stop does not wait for Snowflake.
func TestAStoppedSyncDoesNotWait(t *testing.T) {
	t.Parallel()
	for _, during := range []string{snowflaketest.Login, "CREATE"} {
		t.Run(during, func(t *testing.T) {
			t.Parallel()
			w := newReadyWorld(t, "OBJECT_STORE")
			sleep := w.open("whoop", "sleep", "")
			w.commit(sleep)
			ctx, stop := context.WithCancel(t.Context())
			w.account.Fault = func(statement string) snowflaketest.Fault {
				if strings.HasPrefix(statement, during) {
					stop()
					return snowflaketest.Hang
				}
				return snowflaketest.None
			}
			f := w.refresher(nil, sleep)
			f.Committed(ctx, []*lake.Table{sleep})
			if err := f.Finish(ctx); err != nil {
				t.Error(err)
			}
			if err := w.refresher(map[string]any{"required": true}, sleep).Finish(ctx); !errors.Is(err, context.Canceled) {
				t.Errorf("%v", err)
			}
			w.expectQuiet()
		})
	}
}

// An account that cannot be reached is a transient error, and is not asked for each
// table.
func TestSnowflakeThatCannotBeReached(t *testing.T) {
	t.Parallel()
	inBubble(t, func(t *testing.T, w *world) {
		var tables []*lake.Table
		for _, name := range []string{"a", "b", "c"} {
			tables = append(tables, w.open("whoop", name, ""))
			w.commit(tables[len(tables)-1])
		}
		f := w.refresher(map[string]any{"endpoint": "http://127.0.0.1:1", "required": true}, tables...)
		f.Committed(t.Context(), tables)
		f.Committed(t.Context(), tables)
		if n := strings.Count(w.log.String(), "level=WARN"); n != 1 {
			t.Errorf("%d warnings: %s", n, w.log.String())
		}
		expectError(t, f.Finish(t.Context()), protocol.TransientError, "Snowflake's account myorg-account cannot be reached")
	})
}
