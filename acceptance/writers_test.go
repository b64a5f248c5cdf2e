//go:build acceptance

package acceptance

import (
	"bytes"
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"
	_ "modernc.org/sqlite"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

const (
	maxWriters    = 8
	rowsPerCommit = 5
	sharedKeys    = 60 // of append_dedup: a little more than the writers hold between two commits
)

// ACCEPTANCE_COMMITS is how many commits each of the eight writers makes, 25 unless set.
func commitsEach(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ACCEPTANCE_COMMITS")
	if text == "" {
		return 25
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("ACCEPTANCE_COMMITS is %q", text)
	}
	return n
}

// Eight processes write one table at once, and each commits after every few rows.
func TestEightWritersOfOneTable(t *testing.T) {
	catalogs := map[string]func(t *testing.T) map[string]any{
		"sqlite": func(*testing.T) map[string]any { return map[string]any{"type": "sqlite"} },
		"postgres": func(t *testing.T) map[string]any {
			return map[string]any{"type": "postgres", "uri": serve(t, servers.Postgres).Endpoint}
		},
	}
	for name, catalog := range catalogs {
		for _, mode := range []protocol.DestinationSyncMode{protocol.Append, protocol.AppendDedup} {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				contest{table: "whoop.items", mode: mode, writers: maxWriters, commits: commitsEach(t), history: true}.test(t, map[string]any{"catalog": catalog(t)}, func(l *lake, metadata string) []any {
					l.nameInFile("items", metadata)
					return l.read(map[string]string{"items": "id"})["items"].Rows
				})
			})
		}
	}
}

// So do four whose tables are on S3, in catalogs that are services.
func TestFourWritersOfOneTableOnS3(t *testing.T) {
	store := serve(t, programs().VersityGW)
	postgres := serve(t, servers.Postgres)
	nessie := serve(t, func(ctx context.Context) (*servers.Server, error) { return programs().Nessie(ctx, store) })
	glue := serve(t, programs().Moto)
	for name, options := range map[string]map[string]any{
		"glue":     {"warehouse": "s3://" + servers.Bucket + "/glue", "catalog": map[string]any{"type": "glue", "endpoint": glue.Endpoint}, "storage": store.Storage()},
		"postgres": {"warehouse": "s3://" + servers.Bucket + "/postgres", "catalog": map[string]any{"type": "postgres", "uri": postgres.Endpoint}, "storage": store.Storage()},
		"nessie":   {"warehouse": servers.NessieWarehouse, "catalog": map[string]any{"type": "rest", "uri": nessie.Endpoint}, "storage": store.Storage()},
	} {
		for _, mode := range []protocol.DestinationSyncMode{protocol.Append, protocol.AppendDedup} {
			t.Run(name+"/"+string(mode), func(t *testing.T) {
				options, namespace := maps.Clone(options), string(mode)
				options["namespace"] = namespace
				contest{table: namespace + ".items", mode: mode, writers: 4, commits: min(commitsEach(t), 5), history: name != "nessie"}.test(t, options, func(l *lake, metadata string) []any {
					return l.readFromStore(options["storage"], "", map[string][2]string{"items": {metadata, "id"}})["items"]["duckdb"].Rows
				})
			})
		}
	}
}

// A contest is several processes that write one table at once.
type contest struct {
	*lake
	table            string
	mode             protocol.DestinationSyncMode
	writers, commits int  // commits of each
	history          bool // the catalog shows all snapshots; Nessie shows the current one only
}

// test runs a contest, and checks the rows that read finds in the table.
func (c contest) test(t *testing.T, options map[string]any, read func(l *lake, metadata string) []any) {
	t.Helper()
	options["commit"], options["memory_mebibytes"] = map[string]any{"max_rows": rowsPerCommit}, 256
	c.lake = newLake(t, t.TempDir(), options)
	start := time.Now()
	c.writeAtOnce(c.configureItems(c.mode))
	took := time.Since(start)
	t.Logf("%d commits in %v: %.1f a second", c.writers*c.commits, took.Round(time.Second), float64(c.writers*c.commits)/took.Seconds())
	c.wantItems(read)
}

// item is row i of commit c of writer w. In append each has a key of its own. In append_dedup the
// writers share the keys, and versions, no two of which are the same, decide between them.
func item(mode protocol.DestinationSyncMode, w, c, i int) (id, version int) {
	n := c*rowsPerCommit + i
	if mode == protocol.Append {
		return w*1_000_000 + n, n
	}
	return (n*7 + w*3) % sharedKeys, n*maxWriters + w
}

func itemName(w, c, i int) string { return fmt.Sprintf("row %d of commit %d of writer %d", i, c, w) }

func (l *lake) configureItems(mode protocol.DestinationSyncMode) string {
	l.t.Helper()
	path := filepath.Join(filepath.Dir(l.config), "catalog.json")
	writeJSON(l.t, path, map[string]any{"streams": []any{map[string]any{
		"stream":    map[string]any{"name": "items", "json_schema": json.RawMessage(itemSchema), "supported_sync_modes": []string{"full_refresh", "incremental"}},
		"sync_mode": "incremental", "destination_sync_mode": mode, "cursor_field": []string{"version"}, "primary_key": [][]string{{"id"}},
	}}})
	return path
}

// writeAtOnce runs the writers to their ends. Each must repeat all of its states, in order.
func (l contest) writeAtOnce(catalog string) {
	l.t.Helper()
	runs := make([]*protocoltest.Run, l.writers)
	group, ctx := errgroup.WithContext(l.t.Context())
	for w := range l.writers {
		var input bytes.Buffer
		for c := range l.commits {
			for i := range rowsPerCommit {
				id, version := item(l.mode, w, c, i)
				fmt.Fprintf(&input, `{"type":"RECORD","record":{"stream":"items","emitted_at":1767225600000,"data":{"id":%d,"version":%d,"name":%q}}}`+"\n", id, version, itemName(w, c, i))
			}
			input.WriteString(feedState("items", c+1))
		}
		input.WriteString(status("items", protocol.Complete))
		r := &protocoltest.Run{Args: []string{"write", "--config", l.config, "--catalog", catalog}, Input: input.Bytes()}
		runs[w] = r
		group.Go(func() error { return writeOne(ctx, r) })
	}
	if err := group.Wait(); err != nil {
		l.t.Fatal(err)
	}
	for w, r := range runs {
		if r.Check(l.t); r.Code != 0 {
			l.t.Errorf("writer %d: exit code %d\n%s", w, r.Code, last(r.Stdout, 2000))
		}
		var echoed, want []int
		for line := range bytes.Lines(r.Stdout) {
			var m struct{ State *feedPosition }
			if unmarshal(l.t, line, &m); m.State != nil {
				echoed = append(echoed, m.State.Stream.State.N)
			}
		}
		for c := range l.commits {
			want = append(want, c+1)
		}
		if diff := cmp.Diff(want, echoed); diff != "" {
			l.t.Errorf("states echoed by writer %d (-want +got):\n%s", w, diff)
		}
	}
	if l.t.Failed() {
		l.t.FailNow()
	}
}

func writeOne(ctx context.Context, r *protocoltest.Run) error {
	cmd := exec.CommandContext(ctx, destination, r.Args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(r.Input), &stdout, &stderr
	err := cmd.Run()
	r.Stdout, r.Stderr, r.Code = stdout.Bytes(), stderr.Bytes(), cmd.ProcessState.ExitCode()
	if r.Code < 0 {
		return err
	}
	return nil
}

// wantItems checks through PyIceberg and DuckDB that the table holds every row exactly once; of
// append_dedup, the newest of every key.
func (l contest) wantItems(read func(l *lake, metadata string) []any) {
	l.t.Helper()
	type held struct {
		Version int
		Name    string
	}
	want := map[int]held{}
	for w := range l.writers {
		for c := range l.commits {
			for i := range rowsPerCommit {
				id, version := item(l.mode, w, c, i)
				if known, there := want[id]; !there || known.Version < version {
					want[id] = held{version, itemName(w, c, i)}
				}
			}
		}
	}
	type tableEntry struct {
		Table     string
		Snapshots int
		Metadata  string `json:"metadata_location"`
	}
	var tables []tableEntry
	unmarshal(l.t, l.run("tables", "--config", l.config, "--json"), &tables)
	i := slices.IndexFunc(tables, func(table tableEntry) bool { return table.Table == l.table })
	if i < 0 {
		l.t.Fatalf("the catalog names %v", tables)
	}
	// In append_dedup all rows of a commit may be older than the table's; then only its state is new.
	if n := tables[i].Snapshots; l.history && l.mode == protocol.Append && n < l.writers*l.commits {
		l.t.Errorf("%d snapshots, fewer than the %d commits", n, l.writers*l.commits)
	}
	rows := read(l.lake, tables[i].Metadata)
	got := map[int]held{}
	for _, row := range rows {
		var r struct {
			ID      int
			Version int
			Name    string
		}
		text, err := json.Marshal(row)
		if err != nil {
			l.t.Fatal(err)
		}
		unmarshal(l.t, text, &r)
		got[r.ID] = held{r.Version, r.Name}
	}
	if diff := cmp.Diff(want, got); diff != "" || len(rows) != len(want) {
		l.t.Errorf("%d rows, want %d (-want +got):\n%.3000s", len(rows), len(want), diff)
	}
}

// nameInFile makes a table known to the engines, which look into catalog.db, when another catalog
// knows it.
func (l *lake) nameInFile(name, metadata string) {
	l.t.Helper()
	file := filepath.Join(l.dir, "catalog.db")
	if _, err := os.Stat(file); err == nil {
		return
	}
	db, err := sql.Open("sqlite", file)
	if err != nil {
		l.t.Fatal(err)
	}
	defer db.Close()
	for _, s := range []string{
		"CREATE TABLE iceberg_tables (catalog_name, table_namespace, table_name, iceberg_type, metadata_location, previous_metadata_location)",
		"CREATE TABLE iceberg_namespace_properties (catalog_name, namespace, property_key, property_value)",
		fmt.Sprintf("INSERT INTO iceberg_tables VALUES ('default', 'whoop', '%s', 'TABLE', '%s', NULL)", name, metadata),
	} {
		if _, err := db.ExecContext(l.t.Context(), s); err != nil {
			l.t.Fatal(err)
		}
	}
}
