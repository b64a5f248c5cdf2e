//go:build acceptance

package acceptance

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A source made with Airbyte's CDK goes on from the states that were echoed and from those that the tables hold: it
// asks for what is new and no more, also after a failure, and the tables hold what its API serves.
func TestASourceOfAirbytesCDK(t *testing.T) {
	t.Parallel()
	api := &pagedAPI{records: map[string][]string{
		"/devices": {`{"id":"a","name":"Zoë 💖 日本"}`, `{"id":"b","name":null,"since":"2024-02-29"}`, `{"id":"c"}`},
		"/events": {
			`{"id":1,"part":2.5E-1,"at":"2026-01-02T00:00:00Z","count":9223372036854775807,"amount":1.5E-7,"label":"e\u0301 \u0000 \" \\ \n ☃"}`,
			`{"id":1,"part":0.5,"at":"2026-01-03T00:00:00Z","count":-9223372036854775808,"amount":6.02214076e+23,"label":null,"undeclared":{"x":1}}`,
			`{"id":2,"part":1e3,"at":"2026-01-04T00:00:00Z","count":123456789012345678901234567890,"amount":-1.7976931348623157E308,"label":""}`,
			`{"id":3,"part":0,"at":"2026-01-05T00:00:00Z","origin":{"device":"a","seen":"2026-01-05T01:30:00.123456+01:30","position":[52.5,-1.25e1]},"payload":{"k":[1,{"l":null}],"ø":"\ud83d\udc96"}}`,
			`{"id":4,"part":1,"at":"2026-01-06T00:00:00Z","origin":{"device":"b","seen":null},"payload":{}}`,
		},
		"/devices/a/readings": {
			`{"device":"a","at":"2026-01-02T00:00:00Z","value":1}`, `{"device":"a","at":"2026-01-03T00:00:00Z","value":2.5}`,
			`{"device":"a","at":"2026-01-04T00:00:00Z","value":1e-3}`,
		},
		"/devices/b/readings": {`{"device":"b","at":"2026-01-05T00:00:00Z","value":-0.1}`},
	}}
	c := newCDKSource(t, api)
	c.sync(c.tableStates(), 0)
	c.wantAsked(
		"/devices", "/devices?page=2",
		"/devices/a/readings?after=2026-01-01T00:00:00Z", "/devices/a/readings?after=2026-01-01T00:00:00Z&page=2",
		"/devices/b/readings?after=2026-01-01T00:00:00Z", "/devices/c/readings?after=2026-01-01T00:00:00Z",
		"/events?since=2026-01-01T00:00:00Z", "/events?page=2&since=2026-01-01T00:00:00Z", "/events?page=3&since=2026-01-01T00:00:00Z",
	)
	c.wantTables(api.records)

	api.records["/devices"] = []string{`{"id":"a","name":"Zoë"}`, `{"id":"b"}`}
	api.records["/events"] = append(api.records["/events"][1:],
		`{"id":1,"part":0.25,"at":"2026-01-07T00:00:00Z","label":"newer"}`, `{"id":5,"part":0,"at":"2026-01-08T00:00:00Z"}`)
	api.add("/devices/a/readings", `{"device":"a","at":"2026-01-09T00:00:00Z","value":3}`)
	api.add("/devices/b/readings", `{"device":"b","at":"2026-01-10T00:00:00Z","value":4}`)
	c.sync(c.echoedStates(), 0)
	c.wantAsked(
		"/devices", "/devices/a/readings?after=2026-01-04T00:00:00Z", "/devices/b/readings?after=2026-01-05T00:00:00Z",
		"/events?since=2026-01-06T00:00:00Z", "/events?page=2&since=2026-01-06T00:00:00Z",
	)
	c.wantTables(api.records)

	// The second pages are missing: what was received of events is kept, of devices, which are overwritten, nothing.
	held := maps.Clone(api.records)
	api.records["/devices"] = []string{`{"id":"a","name":"renamed"}`, `{"id":"b"}`, `{"id":"c"}`}
	api.add("/events", `{"id":6,"part":0,"at":"2026-01-11T00:00:00Z"}`)
	held["/events"] = api.records["/events"]
	api.add("/events", `{"id":7,"part":0,"at":"2026-01-12T00:00:00Z"}`)
	api.missing = 2
	c.sync(c.echoedStates(), 1)
	c.wantTables(held)

	api.missing = 0
	c.sync(c.tableStates(), 0)
	c.wantAsked(
		"/devices", "/devices?page=2",
		"/devices/a/readings?after=2026-01-09T00:00:00Z", "/devices/b/readings?after=2026-01-10T00:00:00Z", "/devices/c/readings?after=2026-01-01T00:00:00Z",
		"/events?since=2026-01-08T00:00:00Z", "/events?page=2&since=2026-01-08T00:00:00Z",
	)
	c.wantTables(api.records)
}

// A pagedAPI serves records, two on a page: all of them, those since an instant, or those after one.
type pagedAPI struct {
	records map[string][]string // by path, the older first
	missing int                 // the page that is not found

	lock  sync.Mutex
	asked []string
}

// add leaves a copy of the records as it is.
func (a *pagedAPI) add(path, record string) {
	a.records[path] = append(slices.Clip(a.records[path]), record)
}

func (a *pagedAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.lock.Lock()
	defer a.lock.Unlock()
	query := r.URL.Query()
	asked := strings.ReplaceAll(r.URL.Path+"?"+query.Encode(), "%3A", ":")
	a.asked = append(a.asked, strings.TrimSuffix(asked, "?"))
	page, err := strconv.Atoi(query.Get("page"))
	if err != nil {
		page = 1
	}
	if page == a.missing {
		http.NotFound(w, r)
		return
	}
	found := []json.RawMessage{}
	for _, record := range a.records[r.URL.Path] {
		var cursor struct{ At string }
		if err := json.Unmarshal([]byte(record), &cursor); err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		if since, after := query.Get("since"), query.Get("after"); cursor.At >= since && (after == "" || cursor.At > after) {
			found = append(found, json.RawMessage(record))
		}
	}
	answer := map[string]any{"records": found[min(2*page-2, len(found)):min(2*page, len(found))]}
	if 2*page < len(found) {
		answer["next"] = page + 1
	}
	_ = json.NewEncoder(w).Encode(answer) // a source that has gone shows by its exit code
}

// A cdkSource runs cdk_manifest.yaml, and fills a lake.
type cdkSource struct {
	t       *testing.T
	api     *pagedAPI
	program string
	flags   []string // of every verb
	catalog string   // path of the configured catalog
	lake    *lake
	engines *readback
	columns map[string][]column                   // of every stream
	echoed  map[protocol.StreamID]json.RawMessage // the last state of every stream
}

// newCDKSource configures the streams that discover shows.
func newCDKSource(t *testing.T, api *pagedAPI) *cdkSource {
	t.Helper()
	program := filepath.Join(repository, ".cache/cdk/bin/source-declarative-manifest")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("Airbyte's CDK is not installed (%v): run make engines", err)
	}
	server := httptest.NewServer(api)
	t.Cleanup(server.Close)
	dir := t.TempDir()
	config := filepath.Join(dir, "source.json")
	writeJSON(t, config, map[string]string{"url": server.URL})
	c := &cdkSource{
		t: t, api: api, program: program, catalog: filepath.Join(dir, "catalog.json"), lake: newLake(t, dir, nil), engines: newReadback(t),
		flags:   []string{"--config", config, "--manifest-path", filepath.Join(repository, "acceptance/engines/cdk_manifest.yaml")},
		columns: map[string][]column{}, echoed: map[protocol.StreamID]json.RawMessage{},
	}
	modes := map[string]protocol.DestinationSyncMode{"devices": protocol.Overwrite, "events": protocol.AppendDedup, "readings": protocol.Append}
	var streams []any
	for _, raw := range discover(t, program, c.flags...) {
		var s struct {
			Name       string
			JSONSchema json.RawMessage `json:"json_schema"`
			SyncModes  []string        `json:"supported_sync_modes"`
			Cursor     []string        `json:"default_cursor_field"`
			PrimaryKey [][]string      `json:"source_defined_primary_key"`
		}
		unmarshal(t, raw, &s)
		c.columns[s.Name] = columnsOf(t, s.JSONSchema)
		streams = append(streams, map[string]any{
			"stream": raw, "sync_mode": s.SyncModes[len(s.SyncModes)-1], "destination_sync_mode": modes[s.Name],
			"cursor_field": s.Cursor, "primary_key": s.PrimaryKey,
		})
	}
	if len(streams) != len(modes) {
		t.Fatalf("discover shows %d streams, want %d", len(streams), len(modes))
	}
	c.columns["events"][1].kind = "decimal(38, 9)" // a number in the key
	writeJSON(t, c.catalog, map[string]any{"streams": streams})
	return c
}

// tableStates and echoedStates write states into a file, as --state takes them, and return its path.
func (c *cdkSource) tableStates() string {
	c.t.Helper()
	path, _ := c.lake.state(c.catalog)
	return path
}

func (c *cdkSource) echoedStates() string {
	c.t.Helper()
	path := filepath.Join(filepath.Dir(c.catalog), "echoed.json")
	writeJSON(c.t, path, slices.Collect(maps.Values(c.echoed)))
	return path
}

// sync pipes what is newer than the states into the tables; both programs must end with the code.
func (c *cdkSource) sync(states string, code int) {
	c.t.Helper()
	c.api.asked = nil
	read := append([]string{"read", "--catalog", c.catalog, "--state", states}, c.flags...)
	write := []string{"write", "--config", c.lake.config, "--catalog", c.catalog}
	s := piped(c.t, exec.CommandContext(c.t.Context(), c.program, read...), exec.CommandContext(c.t.Context(), destination, write...), nil)
	s.write.Args = write
	s.write.Check(c.t) // not read: the CDK sends states after COMPLETE
	if s.read.Code != code || s.write.Code != code {
		c.t.Fatalf("exit codes %d and %d, want %d\n%s\n%s", s.read.Code, s.write.Code, code, last(s.read.Stdout, 4000), last(s.write.Stdout, 4000))
	}
	for _, state := range s.write.States() {
		c.echoed[state.Stream] = state.Raw
	}
}

// wantAsked checks what the last sync asked the API for.
func (c *cdkSource) wantAsked(want ...string) {
	c.t.Helper()
	slices.Sort(want)
	slices.Sort(c.api.asked)
	if diff := cmp.Diff(want, slices.Compact(c.api.asked)); diff != "" { // two streams may ask for the devices
		c.t.Errorf("what the API was asked for (-want +got):\n%s", diff)
	}
}

// wantTables checks that both engines find the records in the tables, each once.
func (c *cdkSource) wantTables(records map[string][]string) {
	c.t.Helper()
	tables, err := c.engines.engines(c.lake.config)
	if err != nil {
		c.t.Fatal(err)
	}
	for name, declared := range c.columns {
		table := tables["whoop."+name]
		if table.PyIceberg == nil || table.DuckDB == nil {
			c.t.Fatalf("the engines do not see table %s with rows", name)
		}
		table.PyIceberg.mendLists(*table.DuckDB)
		columns := slices.Concat(declared, airbyteColumns)
		var schema [][2]string
		for _, of := range columns {
			schema = append(schema, [2]string{of.name, of.String()})
		}
		want, got := map[string]any{}, map[string]any{}
		keep := func(rows, values map[string]any) {
			rows[fmt.Sprint(values["device"], values["id"], values["at"])] = values
		}
		for path, served := range records {
			for _, record := range served {
				if strings.HasSuffix(path, "/"+name) {
					keep(want, c.kept(declared, record))
				}
			}
		}
		for _, object := range table.PyIceberg.Rows {
			values := row(c.t, columns, object)
			for _, varies := range []string{"_airbyte_raw_id", "_airbyte_extracted_at", "_airbyte_generation_id"} {
				delete(values, varies)
			}
			keep(got, values)
		}
		diff := cmp.Diff(table.DuckDB, table.PyIceberg) + cmp.Diff(schema, table.PyIceberg.Schema) + cmp.Diff(want, got)
		if diff != "" || len(table.PyIceberg.Rows) != len(want) {
			c.t.Errorf("table %s has %d rows, the API %d; DuckDB, columns and rows (-want +got):\n%s", name, len(table.PyIceberg.Rows), len(want), diff)
		}
	}
}

// kept is a record as a table with the columns has it.
func (c *cdkSource) kept(columns []column, record string) map[string]any {
	c.t.Helper()
	var object map[string]any
	unmarshal(c.t, []byte(record), &object)
	delete(object, "undeclared")
	changes := []any{}
	if count, ok := object["count"].(json.Number); ok {
		if _, err := count.Int64(); err != nil {
			object["count"] = nil
			changes = append(changes, map[string]any{"field": "count", "change": "NULLED", "reason": "DESTINATION_FIELD_SIZE_LIMITATION"})
		}
	}
	if payload, ok := object["payload"]; ok {
		text, err := json.Marshal(payload)
		if err != nil {
			c.t.Fatal(err)
		}
		object["payload"] = string(text)
	}
	values := row(c.t, columns, object)
	values["_airbyte_meta"] = map[string]any{"sync_id": nil, "changes": changes}
	return values
}
