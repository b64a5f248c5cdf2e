package snowflake

import (
	"encoding/json"
	"errors"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// check checks the world's account with the tables that its lake has.
func (w *world) check(settings map[string]any, tables ...*lake.Table) error {
	w.t.Helper()
	var loaded []*table.Table
	for _, t := range tables {
		loaded = append(loaded, laketest.Load(w.t, t))
	}
	return w.config(settings).Check(w.t.Context(), w.lake(), loaded)
}

// remedy returns the statements in an error, as an administrator completes them.
func remedy(t *testing.T, err error) string {
	t.Helper()
	_, script, found := strings.Cut(messageOf(err), ":\n")
	if !found {
		t.Fatalf("no statements in %v", err)
	}
	return regexp.MustCompile(`\(?<[^>]*>\)?`).ReplaceAllString(script, "X")
}

// A check of an account with nothing in it says all that is missing at once, and what
// it says is enough.
func TestWhatCheckAsksForIsEnough(t *testing.T) {
	t.Parallel()
	for source, settings := range map[string]map[string]any{
		"OBJECT_STORE": {"external_volume": `"my ""volume"""`, "database": `"it's \ a lake"`},
		"GLUE":         {"catalog_source": "glue"},
		"ICEBERG_REST": {"catalog_source": "iceberg_rest", "external_volume": nil},
		"POLARIS":      {"catalog_source": "polaris", "schema": "s"},
	} {
		t.Run(source, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.account.Users["LOADER"].PublicKey = nil
			err := w.check(settings)
			expectError(t, err, protocol.ConfigError, "ALTER USER")
			w.run(remedy(t, err))
			settings["role"] = "other"
			err = w.check(settings)
			expectError(t, err, protocol.ConfigError, "role other", "GRANT ROLE")
			w.run(remedy(t, err))

			err = w.check(settings)
			expectError(t, err, protocol.ConfigError, "there is no database", "there is no schema", "there is no catalog integration", `TO ROLE "OTHER"`)
			w.run(remedy(t, err))
			if err := w.check(settings); err != nil {
				t.Fatal(err)
			}
			sleep := w.open("whoop", "sleep", "")
			w.commit(sleep)
			if err := w.config(settings).Probe(t.Context(), w.lake(), laketest.Load(t, sleep)); err != nil {
				t.Fatal(err)
			}
			for _, statement := range w.account.Statements() {
				if strings.HasPrefix(statement, "CREATE") && !strings.HasPrefix(statement, "CREATE ICEBERG TABLE IF NOT EXISTS") {
					t.Errorf("the check itself ran %s", statement)
				}
			}
			if err := w.refresher(settings, sleep).Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			w.expectQuiet()
			if err := w.check(settings, sleep); err != nil {
				t.Fatal(err)
			}
		})
	}
}

// Each privilege that is missing alone is found, with the statement that grants it.
func TestCheckFindsEachMissingPrivilege(t *testing.T) {
	t.Parallel()
	for _, line := range strings.Split(strings.TrimSpace(setup), "\n") {
		if !strings.HasPrefix(line, "GRANT") {
			continue
		}
		t.Run(line, func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			script := strings.ReplaceAll(setup, line+"\n", "")
			script = strings.Replace(strings.Replace(script, "%s", w.warehouse(), 1), "%s", "OBJECT_STORE", 1)
			w.run(script)
			err := w.check(nil)
			expectError(t, err, protocol.ConfigError, "role LOADERS", "GRANT")
			w.run(remedy(t, err))
			if err := w.check(nil); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("CREATE ICEBERG TABLE", func(t *testing.T) {
		t.Parallel()
		w := newWorld(t)
		script := strings.Replace(setup, "USAGE, CREATE ICEBERG TABLE", "USAGE", 1)
		w.run(strings.Replace(strings.Replace(script, "%s", w.warehouse(), 1), "%s", "OBJECT_STORE", 1))
		err := w.check(nil)
		expectError(t, err, protocol.ConfigError, "role LOADERS may not create Iceberg tables")
		w.run(remedy(t, err))
		if err := w.check(nil); err != nil {
			t.Error(err)
		}
	})
}

// A privilege of a role that the session's role has is enough.
func TestPrivilegesAreInherited(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	w.account.Users["LOADER"].Roles = []string{"HEIR"}
	w.run("GRANT ROLE LOADERS TO ROLE HEIR;")
	if err := w.check(nil); err != nil {
		t.Error(err)
	}
}

func TestCheckLooksAtTheTablesThatAreThere(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		spoil    func(*world)
		settings map[string]any
		want     string
	}{
		"of another owner": {func(w *world) {
			w.run("GRANT OWNERSHIP ON ICEBERG TABLE LAKE.WHOOP.SLEEP TO ROLE OTHER;\nGRANT USAGE ON ICEBERG TABLE LAKE.WHOOP.SLEEP TO ROLE LOADERS;")
		}, nil, `GRANT OWNERSHIP ON ICEBERG TABLE "LAKE"."WHOOP"."SLEEP" TO ROLE "LOADERS" COPY CURRENT GRANTS;`},
		"of another integration": {func(w *world) {
			w.run("CREATE CATALOG INTEGRATION IF NOT EXISTS J CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = ICEBERG ENABLED = TRUE;\nGRANT USAGE ON INTEGRATION J TO ROLE LOADERS;")
		}, map[string]any{"catalog_integration": "j"}, "has the catalog I and not J"},
		"a disabled integration": {func(w *world) { w.run("ALTER CATALOG INTEGRATION I SET ENABLED = FALSE;") }, nil, `ALTER CATALOG INTEGRATION "I" SET ENABLED = TRUE;`},
		"another source":         {func(*world) {}, map[string]any{"catalog_source": "polaris"}, `set the configuration's "snowflake.catalog_source" to "object_store"`},
		"a volume elsewhere":     {func(*world) {}, map[string]any{"volume_base_url": "s3://bucket"}, `set the configuration's "snowflake.volume_base_url" to where it is`},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			w := newReadyWorld(t, "OBJECT_STORE")
			sleep := w.open("whoop", "sleep", "")
			w.commit(sleep)
			if err := w.refresher(nil, sleep).Finish(t.Context()); err != nil {
				t.Fatal(err)
			}
			tc.spoil(w)
			expectError(t, w.check(tc.settings, sleep), protocol.ConfigError, tc.want)
		})
	}
}

// The statement for a catalog integration has what is known of the lake, in the form
// that Snowflake has for each kind.
func TestStatementsForCatalogIntegrations(t *testing.T) {
	t.Parallel()
	for name, tc := range map[string]struct {
		source      catalogSource
		catalogType string
		volume      identifier
		want, not   []string
	}{
		"object store":     {objectStore, "sqlite", "v", []string{`IF NOT EXISTS "I" CATALOG_SOURCE = OBJECT_STORE TABLE_FORMAT = ICEBERG ENABLED = TRUE;`}, nil},
		"Glue":             {glue, "glue", "v", []string{"CATALOG_SOURCE = GLUE", `CATALOG_NAMESPACE = 'it''s'`, "GLUE_AWS_ROLE_ARN", "GLUE_CATALOG_ID"}, []string{"REST_CONFIG"}},
		"Glue's REST":      {icebergREST, "glue", "v", []string{"CATALOG_API_TYPE = AWS_GLUE", "amazonaws.com/iceberg", "TYPE = SIGV4", "SIGV4_IAM_ROLE"}, []string{"VENDED", "OAUTH"}},
		"REST":             {icebergREST, "rest", "v", []string{"CATALOG_SOURCE = ICEBERG_REST", "CATALOG_NAME", "OAUTH_CLIENT_SECRET"}, []string{"VENDED", "SIGV4"}},
		"REST that vends":  {icebergREST, "rest", "", []string{"ACCESS_DELEGATION_MODE = VENDED_CREDENTIALS"}, nil},
		"Polaris":          {polaris, "rest", "v", []string{"CATALOG_SOURCE = POLARIS", "CATALOG_NAME", "TYPE = OAUTH"}, []string{"WAREHOUSE"}},
		"Glue that vends":  {icebergREST, "glue", "", []string{"CATALOG_API_TYPE = AWS_GLUE", "VENDED_CREDENTIALS"}, nil},
		"Polaris of vends": {polaris, "rest", "", []string{"VENDED_CREDENTIALS"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			i := inspection{registerConfig: &registerConfig{CatalogSource: tc.source, CatalogIntegration: "i", ExternalVolume: tc.volume}, lake: Lake{Namespace: "it's", CatalogType: tc.catalogType}}
			statement := i.createIntegration()
			for _, want := range tc.want {
				if !strings.Contains(statement, want) {
					t.Errorf("no %s in %s", want, statement)
				}
			}
			for _, not := range tc.not {
				if strings.Contains(statement, not) {
					t.Errorf("%s is in %s", not, statement)
				}
			}
		})
	}
}

// Paths that Snowflake is told of begin at the active location of the volume. If it
// asks a catalog, the volume may begin above the warehouse.
func TestVolumesThatReachTheWarehouse(t *testing.T) {
	t.Parallel()
	location := func(name, base string) map[string]string {
		return map[string]string{"property": "STORAGE_LOCATION_" + name, "property_value": `{"NAME":"` + name + `","STORAGE_BASE_URL":"` + base + `"}`}
	}
	active := func(name string) map[string]string {
		return map[string]string{"property": "ACTIVE", "property_value": name}
	}
	one, other := location("one", "s3://bucket/lake/"), location("other", "s3://other/")
	for name, tc := range map[string]struct {
		source   catalogSource
		volume   []map[string]string
		base     string
		expected bool
	}{
		"at the warehouse":             {objectStore, []map[string]string{one, active("one")}, "s3://bucket/lake", true},
		"not active":                   {objectStore, []map[string]string{one, other, active("other")}, "s3://bucket/lake", false},
		"none is active yet":           {objectStore, []map[string]string{one, other, active("")}, "s3://bucket/lake", true},
		"above the base":               {objectStore, []map[string]string{one}, "s3://bucket/lake/below", false},
		"above, and a catalog":         {icebergREST, []map[string]string{one}, "s3://bucket/lake/below", true},
		"below, and a catalog":         {glue, []map[string]string{one}, "s3://bucket", false},
		"a neighbour, and a catalog":   {glue, []map[string]string{one}, "s3://bucket/lake2", false},
		"at the warehouse, of Polaris": {polaris, []map[string]string{one}, "s3://bucket/lake", true},
	} {
		t.Run(name, func(t *testing.T) {
			i := inspection{registerConfig: &registerConfig{CatalogSource: tc.source}}
			found := false
			for _, base := range activeBases(tc.volume) {
				found = found || i.reaches(base, tc.base)
			}
			if found != tc.expected {
				t.Errorf("it reaches the warehouse: %v", found)
			}
		})
	}
}

// What docs/destination.md tells an administrator to run is enough for its
// configuration.
func TestTheSetUpOfTheDocumentation(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../../docs/destination.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(text), "\n## Snowflake\n")
	block := func(language, first string) string {
		_, found, _ := strings.Cut(section, "```"+language+"\n"+first)
		found, _, _ = strings.Cut(found, "```\n")
		return first + found
	}
	w := newWorld(t)
	for _, statement := range strings.Split(regexp.MustCompile(`--.*`).ReplaceAllString(block("sql", "CREATE ROLE"), ""), ";") {
		switch words := strings.Fields(statement); {
		case len(words) == 0, words[0] == "DESC", words[1] == "ROLE", words[1] == "USER", words[3] == "WAREHOUSE":
			// Of these the stand-in knows nothing, or has what they make.
		default:
			w.run(statement + ";")
		}
	}
	var config struct {
		Warehouse string
		Snowflake map[string]any
	}
	if err := json.Unmarshal([]byte(block("json", "{")), &config); err != nil {
		t.Fatal(err)
	}
	config.Snowflake["endpoint"] = w.account.URL
	config.Snowflake["auth"] = map[string]any{"type": "key_pair", "private_key": pemOf(t, loaderKey())}
	raw, err := json.Marshal(config.Snowflake)
	if err != nil {
		t.Fatal(err)
	}
	c, lake := Default(), Lake{Warehouse: config.Warehouse, Namespace: "airbyte", CatalogType: "sqlite"}
	if err := errors.Join(json.Unmarshal(raw, &c), c.Validate(lake), c.Check(t.Context(), lake, nil)); err != nil {
		t.Error(err)
	}
	if statements := w.account.Statements(); len(statements) < 5 {
		t.Errorf("the check sent %q", statements)
	}
}
