package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs/resttest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A lakeKind is a kind of catalog on a kind of storage.
type lakeKind struct {
	name      string
	configure func(t *testing.T) string // makes the configuration of a new lake with nothing in it
}

// lakeKinds is one row for each kind of catalog, on each storage that it can be
// used with.
var lakeKinds = []lakeKind{
	{"sqlite, local", func(t *testing.T) string { return fmt.Sprintf(`{"warehouse":"file://%s"}`, t.TempDir()) }},
	{"sqlite, s3", func(t *testing.T) string {
		return fmt.Sprintf(`{"warehouse":"s3://%s/lake","catalog":{"type":"sqlite","path":"%s/catalog.db"},"storage":%s}`, s3test.Bucket, t.TempDir(), s3test.Config(s3test.Start(nil)))
	}},
	{"rest, local", func(t *testing.T) string {
		return restLake(t, &resttest.Server{Prefix: "lake"}, "file://"+t.TempDir(), `{"type":"local"}`)
	}},
	{"rest without branches, local", func(t *testing.T) string {
		return restLake(t, &resttest.Server{NoBranches: true, Overrides: map[string]string{"nessie.is-nessie-catalog": "true"}}, "file://"+t.TempDir(), `{"type":"local"}`)
	}},
	{"rest, vended s3", func(t *testing.T) string {
		// A catalog that reaches the files by itself, and gives credentials for tables alone.
		endpoint := s3test.Start(func(next http.Handler) http.Handler {
			return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if of := r.Header.Get("Authorization"); !strings.Contains(of, "Credential=key/") && (!strings.Contains(of, "Credential=vended/") || r.Header.Get("X-Amz-Security-Token") != "token") {
					w.WriteHeader(http.StatusForbidden)
					return
				}
				next.ServeHTTP(w, r)
			})
		})
		own, err := storage.Open(t.Context(), storageConfig(t, s3test.Config(endpoint)), "s3://"+s3test.Bucket+"/lake", "")
		if err != nil {
			t.Fatal(err)
		}
		server := &resttest.Server{Files: own.Files(), Warehouse: "s3://" + s3test.Bucket + "/theirs", Access: func(r *http.Request) resttest.Access {
			if r.Header.Get("X-Iceberg-Access-Delegation") != "vended-credentials" {
				return resttest.Access{}
			}
			return resttest.Access{
				Config: map[string]string{"s3.endpoint": endpoint, "s3.path-style-access": "true", "client.region": "us-east-1"},
				Credentials: []resttest.Credential{
					{Prefix: "s3://", Config: map[string]string{"s3.access-key-id": "wrong", "s3.secret-access-key": "wrong"}},
					{Prefix: "s3://" + s3test.Bucket + "/theirs", Config: map[string]string{"s3.access-key-id": "vended", "s3.secret-access-key": "sesame", "s3.session-token": "token"}},
				},
			}
		}}
		return fmt.Sprintf(`{"warehouse":"s3://%s/lake","catalog":{"type":"rest","uri":%q},"storage":{"type":"s3","vended":true}}`, s3test.Bucket, server.Start().URL)
	}},
	{"rest, s3", func(t *testing.T) string {
		return restLake(t, &resttest.Server{}, "s3://"+s3test.Bucket+"/lake", s3test.Config(s3test.Start(nil)))
	}},
}

// What every kind of catalog can do, on every storage.
func TestLakes(t *testing.T) {
	for i, kind := range lakeKinds {
		for j, tc := range []struct {
			name string
			test func(*lakeUnderTest)
		}{
			{"refresh on a branch", (*lakeUnderTest).refreshes},
			{"check", (*lakeUnderTest).checks},
			{"create, append and evolve", (*lakeUnderTest).appends},
			{"conflict of two writers", (*lakeUnderTest).resolvesConflicts},
			{"dedup", (*lakeUnderTest).dedups},
			{"committed, answered an error", (*lakeUnderTest).findsItsCommit},
			{"overwrite", (*lakeUnderTest).overwrites},
			{"state in the table", (*lakeUnderTest).keepsStates},
			{"maintenance", (*lakeUnderTest).maintenance},
			{"refused and not committed", (*lakeUnderTest).commitsOnceRefused},
			{"dedup, partitioned, sorted", (*lakeUnderTest).partitions},
			{"relocation", (*lakeUnderTest).relocates},
			{"changed by hand", (*lakeUnderTest).changesByHand},
		} {
			if (i+j)%testsize.Of(3, 1) > 0 {
				continue // each is left with two kinds of lake
			}
			t.Run(kind.name+"/"+tc.name, func(t *testing.T) {
				t.Parallel()
				tc.test(&lakeUnderTest{t: t, d: unsignalled(), config: protocoltest.File(t, kind.configure(t))})
			})
		}
	}
}

// restLake is the configuration of a lake whose catalog is a server that is started.
func restLake(t *testing.T, server *resttest.Server, warehouse, config string) string {
	t.Helper()
	files, err := storage.Open(t.Context(), storageConfig(t, config), warehouse, "")
	if err != nil {
		t.Fatal(err)
	}
	server.Files, server.Warehouse = files.Files(), warehouse
	return fmt.Sprintf(`{"warehouse":%q,"catalog":{"type":"rest","uri":%q},"storage":%s}`, warehouse, server.Start().URL, config)
}

func storageConfig(t *testing.T, text string) (config storage.Config) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), &config); err != nil {
		t.Fatal(err)
	}
	return config
}

type lakeUnderTest struct {
	t      *testing.T
	d      destination
	config string
}

func (l *lakeUnderTest) do(input string, args ...string) (stdout string, code int) {
	l.t.Helper()
	var out, errs bytes.Buffer
	code = l.d.run(l.t.Context(), cli.Env{Args: append(args, "--config", l.config), Stdin: strings.NewReader(input), Stdout: &out, Stderr: &errs})
	return out.String() + errs.String(), code
}

// succeeds runs a verb and returns what it prints.
func (l *lakeUnderTest) succeeds(input string, args ...string) string {
	l.t.Helper()
	out, code := l.do(input, args...)
	if code != 0 {
		l.t.Fatalf("%q: exit code %d: %s", args, code, out)
	}
	return out
}

// stream is a configured catalog: of a mode, with the columns id and v, and others.
func (l *lakeUnderTest) stream(mode protocol.DestinationSyncMode, generation, minimum int, columns string) string {
	l.t.Helper()
	return protocoltest.File(l.t, fmt.Sprintf(`{"streams":[{"stream":{"name":"items","json_schema":{"properties":{"id":{"type":"integer"},"v":{"type":"string"}%s}}},
		"sync_mode":"incremental","destination_sync_mode":%q,"primary_key":[["id"]],"cursor_field":["v"],"generation_id":%d,"minimum_generation_id":%d,"sync_id":1}]}`,
		columns, mode, generation, minimum))
}

func records(data ...string) string {
	var b strings.Builder
	for _, d := range data {
		fmt.Fprintf(&b, `{"type":"RECORD","record":{"stream":"items","emitted_at":1700000000000,"data":%s}}`+"\n", d)
	}
	return b.String()
}

func stateOf(n int) string {
	return fmt.Sprintf(`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"items"},"stream_state":{"n":%d}}}}`+"\n", n)
}

func (l *lakeUnderTest) write(catalog, input string) {
	l.t.Helper()
	l.succeeds(input, "write", "--catalog", catalog)
}

func (l *lakeUnderTest) expectRows(want ...string) {
	l.t.Helper()
	var got []string
	for line := range strings.Lines(l.succeeds("", "preview", "items", "--limit", "0", "--json")) {
		data, _, _ := strings.Cut(line, `,"_airbyte_raw_id":`)
		got = append(got, data+"}")
	}
	slices.Sort(got)
	if diff := cmp.Diff(want, got); diff != "" {
		l.t.Errorf("rows (-want +got):\n%s", diff)
	}
}

func (l *lakeUnderTest) expectState(catalog string, want string) {
	l.t.Helper()
	if out := l.succeeds("", "state", "--catalog", catalog); !strings.Contains(out, want) {
		l.t.Errorf("no state %s in %s", want, out)
	}
}

func (l *lakeUnderTest) checks() {
	if out := l.succeeds("", "check"); !strings.Contains(out, `"SUCCEEDED"`) {
		l.t.Error(out)
	}
	if out := l.succeeds("", "tables", "--json"); strings.Contains(out, l.named("airbyte_check")) {
		l.t.Errorf("the probe is left: %s", out)
	}
}

func (l *lakeUnderTest) appends() {
	l.write(l.stream(protocol.Append, 0, 0, ""), records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete)
	l.write(l.stream(protocol.Append, 0, 0, `,"w":{"type":"number"}`), records(`{"id":1,"v":"b","w":0.5}`)+stateOf(2)+fedComplete)
	l.expectRows(`{"id":1,"v":"a","w":null}`, `{"id":1,"v":"b","w":0.5}`)
}

func (l *lakeUnderTest) dedups() {
	stream := l.stream(protocol.AppendDedup, 0, 0, "")
	l.write(stream, records(`{"id":1,"v":"a"}`, `{"id":2,"v":"a"}`, `{"id":2,"v":"b"}`)+stateOf(1)+fedComplete)
	l.write(stream, records(`{"id":1,"v":"c"}`, `{"id":2,"v":"a"}`, `{"id":3,"v":"a"}`)+stateOf(2)+fedComplete)
	l.expectRows(`{"id":1,"v":"c"}`, `{"id":2,"v":"b"}`, `{"id":3,"v":"a"}`)
}

// partitions is dedups for a table that is created with partitions and a sort order.
func (l *lakeUnderTest) partitions() {
	l.configured(func(config map[string]any) {
		config["streams"] = []any{map[string]any{"name": "items", "partition_by": []string{"bucket(2, id)", "truncate(1, v)"}, "sort_by": []string{"v desc", "id"}}}
	})
	l.dedups()
}

func (l *lakeUnderTest) overwrites() {
	stream := l.stream(protocol.Overwrite, 0, 0, "")
	l.write(stream, records(`{"id":1,"v":"a"}`, `{"id":2,"v":"a"}`)+stateOf(1)+fedComplete)
	l.write(stream, records(`{"id":3,"v":"a"}`)+stateOf(2)+fedComplete)
	l.expectRows(`{"id":3,"v":"a"}`)
}

// Until a refresh is complete its rows are on a branch of their own, with a state. Where
// there are no branches it begins again.
func (l *lakeUnderTest) refreshes() {
	l.write(l.stream(protocol.Append, 1, 0, ""), records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete)
	refresh := l.stream(protocol.Append, 2, 2, "")
	if _, code := l.do(records(`{"id":2,"v":"a"}`)+stateOf(21)+records(`{"id":3,"v":"lost"}`), "write", "--catalog", refresh); code == 0 {
		l.t.Error("half a refresh succeeded")
	}
	l.expectRows(`{"id":1,"v":"a"}`)
	rest := records(`{"id":3,"v":"a"}`) + stateOf(22) + fedComplete
	if l.keepsBranches() {
		l.expectState(refresh, `"stream_state":{"n":21}`)
		l.write(refresh, rest)
	} else {
		l.expectState(refresh, `[]`)
		l.write(refresh, records(`{"id":2,"v":"a"}`)+stateOf(21)+rest)
	}
	l.expectRows(`{"id":2,"v":"a"}`, `{"id":3,"v":"a"}`)
	l.expectState(refresh, `"stream_state":{"n":22}`)
}

// keepsBranches reports whether the lake's catalog does.
func (l *lakeUnderTest) keepsBranches() bool {
	l.t.Helper()
	text, err := os.ReadFile(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	config, err := parseConfig(text)
	if err != nil {
		l.t.Fatal(err)
	}
	cat, err := config.openCatalog(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	defer cat.Close()
	return cat.KeepsBranches()
}

// commitsOf is a backend that has the first commit of rows done by do.
type commitsOf struct {
	catalog.Catalog
	once *sync.Once
	do   func(commit func() (table.Metadata, string, error)) (table.Metadata, string, error)
}

func (c commitsOf) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (meta table.Metadata, location string, err error) {
	commit := func() (table.Metadata, string, error) { return c.Catalog.CommitTable(ctx, id, reqs, updates) }
	first := false
	if slices.ContainsFunc(updates, func(u table.Update) bool { return u.Action() == table.UpdateAddSnapshot }) {
		c.once.Do(func() { first = true })
	}
	if first {
		return c.do(commit)
	}
	return commit()
}

// whenItCommits has the first commit of the writes that follow done by do.
func (l *lakeUnderTest) whenItCommits(do func(commit func() (table.Metadata, string, error)) (table.Metadata, string, error)) {
	once := &sync.Once{}
	l.d.openCatalog = func(ctx context.Context, c Config) (*catalogs.Catalog, error) {
		cat, err := c.openCatalog(ctx)
		if err == nil {
			cat.Backend = commitsOf{cat.Backend, once, do}
		}
		return cat, err
	}
}

func (l *lakeUnderTest) resolvesConflicts() {
	stream := l.stream(protocol.AppendDedup, 0, 0, "")
	l.write(stream, records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete)
	l.whenItCommits(func(commit func() (table.Metadata, string, error)) (table.Metadata, string, error) {
		l.write(stream, records(`{"id":1,"v":"c"}`, `{"id":2,"v":"theirs"}`)+stateOf(2)+fedComplete)
		meta, location, err := commit()
		if !errors.Is(err, table.ErrCommitFailed) {
			l.t.Errorf("a commit on a table that has moved on: error %v", err)
		}
		return meta, location, err
	})
	l.write(stream, records(`{"id":1,"v":"b"}`, `{"id":3,"v":"ours"}`)+stateOf(3)+fedComplete)
	l.expectRows(`{"id":1,"v":"c"}`, `{"id":2,"v":"theirs"}`, `{"id":3,"v":"ours"}`)
	l.expectState(stream, `"stream_state":{"n":3}`)
}

func (l *lakeUnderTest) findsItsCommit() {
	stream := l.stream(protocol.Append, 0, 0, "")
	l.whenItCommits(func(commit func() (table.Metadata, string, error)) (table.Metadata, string, error) {
		_, _, err := commit()
		return nil, "", errors.Join(errLost, err)
	})
	l.write(stream, records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete)
	l.expectRows(`{"id":1,"v":"a"}`)
	l.expectState(stream, `"stream_state":{"n":1}`)
}

func (l *lakeUnderTest) commitsOnceRefused() {
	stream := l.stream(protocol.Append, 0, 0, "")
	l.whenItCommits(func(func() (table.Metadata, string, error)) (table.Metadata, string, error) {
		return nil, "", fmt.Errorf("%w: for a reason", table.ErrCommitFailed)
	})
	l.write(stream, records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete)
	l.expectRows(`{"id":1,"v":"a"}`)
}

func (l *lakeUnderTest) keepsStates() {
	stream := l.stream(protocol.Append, 0, 0, "")
	if out := l.succeeds("", "state", "--catalog", stream); strings.TrimSpace(out) != "[]" {
		l.t.Errorf("before the first sync there is the state %s", out)
	}
	long := strings.Repeat("x", 5000) // which gets a file of its own
	l.write(stream, records(`{"id":1,"v":"a"}`)+strings.Replace(stateOf(1), `"n":1`, `"n":"`+long+`"`, 1)+fedComplete)
	l.expectState(stream, `"stream_state":{"n":"`+long+`"}`)
	l.write(stream, stateOf(2)+fedComplete)
	l.expectState(stream, `"stream_state":{"n":2}`)
}

func (l *lakeUnderTest) maintenance() {
	stream := l.stream(protocol.AppendDedup, 0, 0, "")
	var want []string
	for n := range 9 {
		row := fmt.Sprintf(`{"id":%d,"v":"a"}`, n)
		l.write(stream, records(row)+stateOf(n)+fedComplete)
		want = append(want, row)
	}
	if out := l.succeeds("", "maintain"); !strings.Contains(out, "compacted into 1") {
		l.t.Errorf("nothing was compacted: %s", out)
	}
	l.expectRows(want...)
	l.expectState(stream, `"stream_state":{"n":8}`)
}
