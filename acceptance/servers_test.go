//go:build acceptance

package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

// programs are what `make engines` has installed.
func programs() servers.Programs { return servers.Programs(filepath.Join(repository, ".cache")) }

// serve runs a server for the length of a test.
func serve(t testing.TB, start func(context.Context) (*servers.Server, error)) *servers.Server {
	t.Helper()
	s, err := start(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Stop(); err != nil {
			t.Error(err)
		}
	})
	return s
}

// All servers that lakes are tested with. A catalog has tables on one store only.
type allServers struct {
	versitygw, moto                 *servers.Server // the stores; moto is Glue for its own
	glue                            *servers.Server // another moto, for versitygw
	postgres                        *servers.Server
	nessieOnVersitygw, nessieOnMoto *servers.Server
	vendingNessie                   *servers.Server // on a store of its own
}

func serveAll(t testing.TB) allServers {
	t.Helper()
	var all allServers
	all.versitygw, all.moto, all.glue = serve(t, programs().VersityGW), serve(t, programs().Moto), serve(t, programs().Moto)
	withSessions := serve(t, programs().MotoWithSessions(0))
	var group errgroup.Group // Nessie takes its time to start
	started := func(at **servers.Server, start func(context.Context) (*servers.Server, error)) {
		group.Go(func() (err error) {
			*at, err = start(t.Context())
			return err
		})
	}
	started(&all.postgres, servers.Postgres)
	for at, store := range map[**servers.Server]*servers.Server{
		&all.nessieOnVersitygw: all.versitygw, &all.nessieOnMoto: all.moto, &all.vendingNessie: withSessions,
	} {
		started(at, func(ctx context.Context) (*servers.Server, error) { return programs().Nessie(ctx, store) })
	}
	err := group.Wait()
	t.Cleanup(func() {
		for _, s := range []*servers.Server{all.postgres, all.nessieOnVersitygw, all.nessieOnMoto, all.vendingNessie} {
			if s == nil {
				continue
			}
			if err := s.Stop(); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// lakes is a configuration for each kind of lake on these servers. NEW in one is a name that no other
// lake has.
func (all allServers) lakes(t testing.TB) map[string]map[string]any {
	t.Helper()
	postgres, err := url.Parse(all.postgres.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	postgres.Path = "/NEW"
	dir := t.TempDir()
	lakes := map[string]map[string]any{
		"postgres, local":         {"warehouse": "file://" + dir + "/NEW", "catalog": map[string]any{"type": "postgres", "uri": postgres.String()}},
		"nessie that vends, moto": vending(all.vendingNessie),
	}
	lakes["nessie that vends, moto"]["namespace"] = "NEW"
	for name, on := range map[string]struct{ store, glue, nessie *servers.Server }{
		"versitygw": {all.versitygw, all.glue, all.nessieOnVersitygw},
		"moto":      {all.moto, all.moto, all.nessieOnMoto},
	} {
		for kind, catalog := range map[string]map[string]any{
			"sqlite":   {"type": "sqlite", "path": filepath.Join(dir, "NEW.db")},
			"postgres": {"type": "postgres", "uri": postgres.String()},
			"glue":     {"type": "glue", "endpoint": on.glue.Endpoint, "region": "NEW"}, // Glue has a catalog in each region
			"nessie":   {"type": "rest", "uri": on.nessie.Endpoint},
		} {
			warehouse := "s3://" + servers.Bucket + "/NEW"
			if kind == "nessie" {
				warehouse = servers.NessieWarehouse
			}
			lakes[kind+", "+name] = map[string]any{"warehouse": warehouse, "namespace": "NEW", "catalog": catalog, "storage": on.store.Storage()}
		}
	}
	return lakes
}

// vending is the configuration of a lake whose catalog gives the credentials for its files.
func vending(nessie *servers.Server) map[string]any {
	return map[string]any{
		"warehouse": servers.NessieWarehouse, "catalog": map[string]any{"type": "rest", "uri": nessie.Endpoint}, "storage": map[string]any{"type": "s3", "vended": true},
	}
}

// What every kind of catalog can do, on every storage that it can be used with.
func TestLakesOnServers(t *testing.T) {
	t.Parallel()
	lakes, err := json.Marshal(serveAll(t).lakes(t))
	if err != nil {
		t.Fatal(err)
	}
	test(t, []string{"FULL_TESTS=1", "LAKES=" + string(lakes)}, "-v", "-run", "^TestLakes$", "./destination")
}

// Credentials that Nessie vends allow what a table's policy does, and end after 10 requests: a sync asks for others, and
// writes, commits and maintains as with its own.
func TestASyncOutlastsTheCredentialsThatNessieVends(t *testing.T) {
	t.Parallel()
	store := serve(t, programs().MotoWithSessions(10))
	nessie := serve(t, func(ctx context.Context) (*servers.Server, error) { return programs().Nessie(ctx, store) })
	options := vending(nessie)
	options["commit"] = map[string]any{"max_rows": 1500}
	l := newLake(t, t.TempDir(), options)
	f := feed{lengths: map[string]int{"log": 6000, "accounts": 6000, "totals": 1000}, version: 1}
	catalog := f.configure(l)
	for range 2 {
		from := l.positions(catalog)
		if a := f.try(l, catalog, from, stop{}); a.run.Code != 0 {
			t.Fatalf("exit code %d: %s", a.run.Code, last(a.run.Stdout, 4000))
		}
		l.wantFeed(f.lengths["log"], f.lengths["accounts"])
		f.lengths["log"] += 3000
		f.lengths["accounts"] += 3000
	}
	if n := store.SessionsEnded(); n < 4 {
		t.Errorf("%d credentials came to their end", n)
	} else {
		t.Logf("%d credentials came to their end", n)
	}
}

// The tests of the PostgreSQL catalog that need a server.
func TestPostgresCatalog(t *testing.T) {
	t.Parallel()
	test(t, []string{"CATALOGS_POSTGRES=" + serve(t, servers.Postgres).Endpoint}, "./destination/internal/catalogs")
}

// test runs tests of the programs' own packages that need servers.
func test(t *testing.T, env []string, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", append([]string{"test", "-count=1", "-tags", "acceptance"}, args...)...)
	cmd.Dir = repository
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		var said []byte // of the tests that run at once, without who runs and who has passed
		for line := range bytes.Lines(out) {
			if text := bytes.TrimSpace(line); !bytes.HasPrefix(text, []byte("=== ")) && !bytes.HasPrefix(text, []byte("--- PASS")) {
				said = append(said, line...)
			}
		}
		t.Errorf("%v\n%s", err, last(said, 20000))
	}
}
