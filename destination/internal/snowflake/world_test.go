package snowflake

import (
	"bytes"
	"cmp"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake/snowflaketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// loaderKey is the key of the user LOADER. It is made once, since that takes long.
var loaderKey = sync.OnceValue(func() *rsa.PrivateKey {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		panic(err)
	}
	return key
})

func pemOf(t *testing.T, key *rsa.PrivateKey) string {
	t.Helper()
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der}))
}

// setup is what an administrator runs for register with an object store.
const setup = `CREATE DATABASE IF NOT EXISTS LAKE;
GRANT USAGE ON DATABASE LAKE TO ROLE LOADERS;
CREATE SCHEMA IF NOT EXISTS LAKE.WHOOP;
GRANT USAGE, CREATE ICEBERG TABLE ON SCHEMA LAKE.WHOOP TO ROLE LOADERS;
CREATE EXTERNAL VOLUME IF NOT EXISTS V STORAGE_LOCATIONS = ((NAME = 'lake' STORAGE_PROVIDER = 'S3' STORAGE_BASE_URL = '%s')) ALLOW_WRITES = FALSE;
GRANT USAGE ON EXTERNAL VOLUME V TO ROLE LOADERS;
CREATE CATALOG INTEGRATION IF NOT EXISTS I CATALOG_SOURCE = %s TABLE_FORMAT = ICEBERG ENABLED = TRUE;
GRANT USAGE ON INTEGRATION I TO ROLE LOADERS;
`

// A world is a lake and an account of Snowflake that can read it.
type world struct {
	t       *testing.T
	dir     string
	cat     lake.Catalog
	network *snowflaketest.Network // nil: the account is on loopback
	account *snowflaketest.Account
	log     bytes.Buffer
}

// newWorld makes a lake, and an account with a user and nothing else in it.
func newWorld(t *testing.T) *world {
	t.Helper()
	return worldOf(t, snowflaketest.New(t, "myorg-account"))
}

func worldOf(t *testing.T, account *snowflaketest.Account) *world {
	t.Helper()
	w := &world{t: t, dir: t.TempDir(), account: account}
	w.cat = laketest.OpenCatalog(t, w.dir)
	w.account.Users["LOADER"] = &snowflaketest.User{PublicKey: &loaderKey().PublicKey, Roles: []string{"LOADERS"}}
	w.account.Read = snowflaketest.ReadLocal
	w.account.Current = func(namespace, name string) (string, error) {
		loaded, err := w.cat.LoadTable(t.Context(), table.Identifier{namespace, name})
		if err != nil {
			return "", err
		}
		return loaded.MetadataLocation(), nil
	}
	return w
}

// sources are the options of catalog integrations that are not of the kind OBJECT_STORE.
var sources = map[string]string{
	"GLUE":         "GLUE GLUE_AWS_ROLE_ARN = 'arn' GLUE_CATALOG_ID = '1'",
	"ICEBERG_REST": "ICEBERG_REST REST_CONFIG = (CATALOG_URI = 'https://c' ACCESS_DELEGATION_MODE = VENDED_CREDENTIALS) REST_AUTHENTICATION = (TYPE = BEARER BEARER_TOKEN = 'x')",
	"POLARIS":      "POLARIS REST_CONFIG = (CATALOG_URI = 'https://c' CATALOG_NAME = 'c') REST_AUTHENTICATION = (TYPE = OAUTH OAUTH_CLIENT_SECRET = 'x')",
}

// newReadyWorld is a world whose account has all that a sync needs.
func newReadyWorld(t *testing.T, catalogSource string) *world {
	t.Helper()
	w := newWorld(t)
	w.prepare(catalogSource)
	return w
}

// prepare gives the account all that a sync needs.
func (w *world) prepare(catalogSource string) {
	w.t.Helper()
	w.run(fmt.Sprintf(setup, w.warehouse()+"/", cmp.Or(sources[catalogSource], catalogSource)))
}

// inBubble runs a test of a ready world in a bubble of time: what the driver and its
// callers wait for takes none.
func inBubble(t *testing.T, test func(*testing.T, *world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		t.Cleanup(func() { time.Sleep(time.Hour) }) // what the driver left behind gives up
		network := snowflaketest.NewNetwork(t)
		w := worldOf(t, network.NewAccount("myorg-account"))
		w.network = network
		w.prepare("OBJECT_STORE")
		test(t, w)
	})
}

// run runs statements of an administrator.
func (w *world) run(script string) {
	w.t.Helper()
	if err := w.account.Run(script); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) warehouse() string { return "file://" + w.dir }

func (w *world) lake() Lake {
	return Lake{Warehouse: w.warehouse(), Namespace: "whoop", CatalogType: "sqlite"}
}

// config is a configuration for the world's account, with other settings.
func (w *world) config(settings map[string]any) Config {
	w.t.Helper()
	all := map[string]any{
		"mode": "register", "account": "myorg-account", "user": "loader", "endpoint": w.account.URL, "database": "lake",
		"catalog_integration": "i", "external_volume": "v", "auth": map[string]any{"type": "key_pair", "private_key": pemOf(w.t, loaderKey())},
	}
	for key, value := range settings {
		if all[key] = value; value == nil {
			delete(all, key)
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		w.t.Fatal(err)
	}
	c := Default()
	if err := json.Unmarshal(text, &c); err != nil {
		w.t.Fatal(err)
	}
	return c
}

func (w *world) refresher(settings map[string]any, tables ...*lake.Table) Refresher {
	w.t.Helper()
	f, err := w.config(settings).NewRefresher(w.lake(), tables, w.logger())
	if err != nil {
		w.t.Fatal(err)
	}
	if w.network != nil {
		f.(*registrar).config.transport = w.network.Transport()
	}
	w.t.Cleanup(f.Close)
	return f
}

func (w *world) logger() *slog.Logger { return slog.New(slog.NewTextHandler(&w.log, nil)) }

// open opens the table of a stream with a column id, and others.
func (w *world) open(namespace, name, properties string) *lake.Table {
	w.t.Helper()
	plan, err := columnar.NewPlan(protocol.ConfiguredStream{
		Stream:              protocol.Stream{Name: name, Namespace: namespace, JSONSchema: json.RawMessage(`{"properties":{"id":{"type":"integer"}` + properties + `}}`)},
		DestinationSyncMode: protocol.Append,
	}, columnar.Options{Names: columns.Lowercase, Nested: columnar.Struct, Numbers: columnar.Double})
	if err != nil {
		w.t.Fatal(err)
	}
	return laketest.OpenTable(w.t, w.cat, plan, lake.Options{ReaderTime: 1})
}

// commit commits one row.
func (w *world) commit(t *lake.Table) {
	w.t.Helper()
	laketest.Commit(w.t, t, "", laketest.Stage(w.t, t, 1, map[string]any{"id": 1}))
}

// snapshotAt is the snapshot that a metadata file of a table names.
func (w *world) snapshotAt(t *lake.Table, location string) int64 {
	w.t.Helper()
	at, err := table.NewFromLocation(w.t.Context(), t.Opened().Identifier(), location, laketest.Load(w.t, t).FS, nil)
	if err != nil {
		w.t.Fatal(err)
	}
	return at.CurrentSnapshot().SnapshotID
}

// expectShown fails unless Snowflake shows a table as it is, and the tag says so.
func (w *world) expectShown(t *lake.Table, schema, name string) {
	w.t.Helper()
	location, _ := w.account.Table("LAKE", schema, name)
	if location == "" {
		w.t.Fatalf("Snowflake has no table %s; log: %s", name, w.log.String())
	}
	loaded := laketest.Load(w.t, t)
	if got, want := w.snapshotAt(t, location), loaded.CurrentSnapshot().SnapshotID; got != want {
		w.t.Errorf("Snowflake shows snapshot %d of %s, and the table has %d; log: %s", got, name, want, w.log.String())
	}
	if tagged := loaded.SnapshotByName(Tag); tagged == nil || tagged.SnapshotID != loaded.CurrentSnapshot().SnapshotID {
		w.t.Errorf("the tag names %v", tagged)
	}
}

func (w *world) expectQuiet() {
	w.t.Helper()
	if strings.Contains(w.log.String(), "level=WARN") {
		w.t.Error(w.log.String())
	}
}

func TestMain(m *testing.M) { laketest.Main(m) }

// expectError fails unless an error is of a kind and says all of some texts.
func expectError(t *testing.T, err error, kind protocol.Kind, texts ...string) {
	t.Helper()
	e := (*protocol.Error)(nil)
	if err == nil || !errors.As(err, &e) || e.Kind != kind {
		t.Fatalf("the error is %v and no %s", err, kind)
	}
	for _, text := range texts {
		if !strings.Contains(e.Message, text) {
			t.Errorf("%q is not in %q", text, e.Message)
		}
	}
}
