package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake/snowflaketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// snowflakeSetup lets the role LOADERS register tables.
const snowflakeSetup = `CREATE DATABASE IF NOT EXISTS LAKE;
GRANT USAGE ON DATABASE LAKE TO ROLE LOADERS;
CREATE SCHEMA IF NOT EXISTS LAKE.AIRBYTE;
GRANT USAGE, CREATE ICEBERG TABLE ON SCHEMA LAKE.AIRBYTE TO ROLE LOADERS;
CREATE EXTERNAL VOLUME IF NOT EXISTS V STORAGE_LOCATIONS = ((NAME = 'lake' STORAGE_PROVIDER = 'S3' STORAGE_BASE_URL = '%s')) ALLOW_WRITES = FALSE;
GRANT USAGE ON EXTERNAL VOLUME V TO ROLE LOADERS;
CREATE CATALOG INTEGRATION IF NOT EXISTS I CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = ICEBERG ENABLED = TRUE;
GRANT USAGE ON INTEGRATION I TO ROLE LOADERS;
`

// shownLake is a lake whose tables are registered in an account of Snowflake that can
// read the files of this machine.
type shownLake struct {
	t       *testing.T
	d       destination
	config  Config
	cat     *catalogs.Catalog
	account *snowflaketest.Account
	out     bytes.Buffer
}

func newShownLake(t *testing.T, required bool) *shownLake {
	t.Helper()
	dir := t.TempDir()
	l := &shownLake{t: t, d: unsignalled(), account: snowflaketest.New(t, "myorg-account")}
	l.account.Read = snowflaketest.ReadLocal
	l.account.Users["LOADER"] = &snowflaketest.User{Token: "pat", Roles: []string{"LOADERS"}}
	if err := l.account.Run(fmt.Sprintf(snowflakeSetup, "file://"+dir)); err != nil {
		t.Fatal(err)
	}
	var err error
	if l.config, err = parseConfig(fmt.Appendf(nil, `{"warehouse":"file://%s","commit":{"max_rows":1}}`, dir)); err != nil {
		t.Fatal(err)
	}
	// A configuration of local files would be refused.
	l.config.Snowflake = snowflake.Default()
	if err := json.Unmarshal(fmt.Appendf(nil, `{"mode":"register","account":"myorg-account","user":"loader","endpoint":%q,"database":"lake",
		"catalog_integration":"i","external_volume":"v","auth":{"type":"pat","token":"pat"},"required":%v}`, l.account.URL, required), &l.config.Snowflake); err != nil {
		t.Fatal(err)
	}
	if l.cat, err = l.config.openCatalog(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.cat.Close() })
	return l
}

func (l *shownLake) write(mode protocol.DestinationSyncMode, generation, minimum int, input string) error {
	l.t.Helper()
	configured, err := protocol.ParseConfiguredCatalog(fmt.Appendf(nil, `{"streams":[{"stream":{"name":"items","json_schema":{"properties":{"id":{"type":"integer"}}}},
		"sync_mode":"incremental","destination_sync_mode":%q,"generation_id":%d,"minimum_generation_id":%d,"sync_id":1}]}`, mode, generation, minimum))
	if err != nil {
		l.t.Fatal(err)
	}
	streams, err := l.config.planStreams(configured)
	if err != nil {
		l.t.Fatal(err)
	}
	return l.d.write(l.t.Context(), l.config, streams, l.cat, strings.NewReader(input), protocol.NewEmitter(&l.out, protocol.EmitterOptions{}), nil)
}

// shown returns the snapshot that Snowflake shows, and the current one.
func (l *shownLake) shown() (shown, current int64) {
	l.t.Helper()
	loaded, err := l.cat.LoadTable(l.t.Context(), table.Identifier{"airbyte", "items"})
	if err != nil {
		l.t.Fatal(err)
	}
	location, _ := l.account.Table("LAKE", "AIRBYTE", "ITEMS")
	if location == "" {
		return 0, loaded.CurrentSnapshot().SnapshotID
	}
	at, err := table.NewFromLocation(l.t.Context(), loaded.Identifier(), location, loaded.FS, nil)
	if err != nil {
		l.t.Fatal(err)
	}
	return at.CurrentSnapshot().SnapshotID, loaded.CurrentSnapshot().SnapshotID
}

func (l *shownLake) expectShown() {
	l.t.Helper()
	if shown, current := l.shown(); shown != current {
		l.t.Errorf("Snowflake shows snapshot %d, and the table has %d: %s", shown, current, l.out.String())
	}
}

// Snowflake is told of what readers see, and only after the states are echoed.
func TestSnowflakeIsToldOfVisibleCommits(t *testing.T) {
	l := newShownLake(t, true)
	var mu sync.Mutex
	var told []string // the states that were echoed when Snowflake was told of a commit
	l.account.Fault = func(statement string) snowflaketest.Fault {
		if strings.Contains(statement, "METADATA_FILE_PATH") || strings.Contains(statement, "REFRESH") {
			mu.Lock()
			defer mu.Unlock()
			told = append(told, fmt.Sprint(strings.Count(l.out.String(), `"type":"STATE"`)))
		}
		return snowflaketest.None
	}
	expectTold := func(want string) {
		t.Helper()
		mu.Lock()
		defer mu.Unlock()
		if got := strings.Join(told, " "); got != want {
			t.Errorf("Snowflake was told after %s states, not %s", got, want)
		}
		told = nil
		l.out.Reset()
		l.expectShown()
	}
	for _, step := range []struct {
		mode                protocol.DestinationSyncMode
		generation, minimum int
		input, told         string
	}{
		{protocol.Append, 1, 0, records(`{"id":1}`) + stateOf(1) + fedComplete, "1"},
		{protocol.Append, 1, 0, stateOf(2) + fedComplete, "1"}, // the tag has made a metadata file
		{protocol.Append, 2, 2, records(`{"id":2}`) + stateOf(3) + records(`{"id":3}`) + stateOf(4) + fedComplete, "2"},
		{protocol.Overwrite, 3, 3, records(`{"id":4}`) + stateOf(5) + fedComplete, "1"},
	} {
		if err := l.write(step.mode, step.generation, step.minimum, step.input); err != nil {
			t.Fatal(err)
		}
		expectTold(step.told)
	}
}

// Rows and states are safe when Snowflake does not show them; with required the sync
// fails all the same, and the next one catches up.
func TestASyncThatSnowflakeDoesNotShow(t *testing.T) {
	for _, required := range []bool{false, true} {
		t.Run(fmt.Sprint(required), func(t *testing.T) {
			l := newShownLake(t, required)
			l.account.Read = func(string) ([]snowflaketest.Column, error) { return nil, fmt.Errorf("access denied") }
			err := l.write(protocol.Append, 1, 0, records(`{"id":1}`)+stateOf(1)+fedComplete)
			if (err != nil) != required || required && !strings.Contains(err.Error(), "access denied") {
				t.Errorf("%v", err)
			}
			if !strings.Contains(l.out.String(), `"stream_state":{"n":1}`) || !required && !strings.Contains(l.out.String(), "WARN") {
				t.Errorf("no state or no warning: %s", l.out.String())
			}
			if shown, current := l.shown(); shown != 0 || current == 0 {
				t.Errorf("Snowflake shows snapshot %d, and the table has %d", shown, current)
			}
			l.account.Read = snowflaketest.ReadLocal
			if err := l.write(protocol.Append, 1, 0, stateOf(2)+fedComplete); err != nil {
				t.Fatal(err)
			}
			l.expectShown()
		})
	}
}

// A check registers its table and removes it again.
func TestACheckShowsItsTableInSnowflake(t *testing.T) {
	l := newShownLake(t, false)
	if err := checkSnowflake(t.Context(), l.config, l.cat); err != nil {
		t.Fatal(err)
	}
	if err := probeWarehouse(t.Context(), l.config, l.cat); err != nil {
		t.Fatal(err)
	}
	statements := strings.Join(l.account.Statements(), "\n")
	for _, want := range []string{`CREATE ICEBERG TABLE IF NOT EXISTS "LAKE"."AIRBYTE"."AIRBYTE_CHECK_`, `DROP ICEBERG TABLE IF EXISTS "LAKE"."AIRBYTE"."AIRBYTE_CHECK_`} {
		if !strings.Contains(statements, want) {
			t.Errorf("no %s in %s", want, statements)
		}
	}
	// What the probe cannot do in Snowflake fails the check, and leaves nothing.
	l.account.Read = func(string) ([]snowflaketest.Column, error) { return nil, fmt.Errorf("access denied") }
	if err := probeWarehouse(t.Context(), l.config, l.cat); err == nil || !strings.Contains(err.Error(), "access denied") {
		t.Errorf("%v", err)
	}
	if ids, err := catalogs.TableIDs(t.Context(), l.cat); err != nil || len(ids) > 0 {
		t.Errorf("left: %v, %v", ids, err)
	}
}
