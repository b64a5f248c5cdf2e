//go:build acceptance

package snowflake

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Another server than ours understands the driver's login, our statements and what is
// quoted in them, and the driver its answers. It knows no Iceberg tables of others. The
// acceptance tests start it, and put its address into SNOWFLAKE_URL.
func TestAnotherServer(t *testing.T) {
	c := Connection{Account: "myorg-account", User: "loader", Endpoint: os.Getenv("SNOWFLAKE_URL")}
	if c.Endpoint == "" {
		t.Fatal("SNOWFLAKE_URL is not set: run the acceptance tests, which start the server")
	}
	key, err := json.Marshal(map[string]string{"type": "key_pair", "private_key": pemOf(t, loaderKey())})
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(key, &c.Auth); err != nil {
		t.Fatal(err)
	}
	client, err := c.open()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(client.close)
	ctx := t.Context()
	if role, err := client.login(ctx); err != nil || role == "" {
		t.Fatalf("role %q, %v", role, err)
	}

	t.Run("literals", func(t *testing.T) {
		for _, text := range []string{"", "it's", `a\b`, `\'; DROP TABLE x; --`, "two\nlines", `"LAKE"."S"`, "größer", `ends with \`} {
			if got, err := client.value(ctx, "SELECT "+literal(text)); err != nil || got != text {
				t.Errorf("%q came back as %q, %v", text, got, err)
			}
		}
	})

	n := tableName{"LAKE", "my own", "Sleep"}
	for _, statement := range []string{
		"CREATE DATABASE IF NOT EXISTS " + quote(n.database), "CREATE SCHEMA IF NOT EXISTS " + n.schemaSQL(),
		"CREATE TABLE " + n.sql() + ` ("id" NUMBER(19,0), "n" FLOAT, "ok" BOOLEAN, "d" DATE, "at" TIMESTAMP_LTZ(6), "v" NUMBER(38,9), "s" VARCHAR)`,
	} {
		if err := client.exec(ctx, statement); err != nil {
			t.Fatal(err)
		}
	}
	t.Run("tables of a schema", func(t *testing.T) {
		tables, err := client.rows(ctx, "SHOW ICEBERG TABLES IN SCHEMA "+n.schemaSQL())
		if err != nil || len(tables) != 1 || tables[0]["name"] != n.table || tables[0]["owner"] == "" {
			t.Errorf("%v, %v", tables, err)
		}
	})
	t.Run("columns", func(t *testing.T) {
		described, err := client.rows(ctx, "DESCRIBE ICEBERG TABLE "+n.sql())
		if err != nil {
			t.Fatal(err)
		}
		var fields []iceberg.NestedField
		for i, typ := range []iceberg.Type{
			iceberg.PrimitiveTypes.Int64, iceberg.PrimitiveTypes.Float64, iceberg.PrimitiveTypes.Bool, iceberg.PrimitiveTypes.Date,
			iceberg.PrimitiveTypes.TimestampTz, iceberg.DecimalTypeOf(38, 9), iceberg.PrimitiveTypes.String,
		} {
			fields = append(fields, iceberg.NestedField{ID: i + 1, Name: []string{"id", "n", "ok", "d", "at", "v", "s"}[i], Type: typ})
		}
		if found := drift(iceberg.NewSchema(0, fields...), described); len(found) > 0 {
			t.Error(found)
		}
		fields[6].Type = iceberg.PrimitiveTypes.Int64
		if diff := cmp.Diff([]string{"column s is VARCHAR(16777216) there, and long in the table"}, drift(iceberg.NewSchema(0, fields...), described)); diff != "" {
			t.Error(diff)
		}
	})
	t.Run("what is not there", func(t *testing.T) {
		for _, statement := range []string{"DESCRIBE ICEBERG TABLE " + tableName{"LAKE", n.schema, "none"}.sql(), n.information()} {
			_, err := client.rows(ctx, statement)
			if !isMissing(err) {
				t.Errorf("%v", err)
			}
			expectError(t, (&registerConfig{}).explain(err, n, "LOADERS"), protocol.ConfigError, "Role LOADERS may not do this")
		}
		if at, err := client.location(ctx, n); at != "" || err != nil {
			t.Errorf("%q, %v", at, err)
		}
	})
	t.Run("a probe is dropped", func(t *testing.T) {
		for range 2 {
			if err := client.exec(ctx, n.drop()); err != nil {
				t.Error(err)
			}
		}
		if tables, err := client.rows(ctx, "SHOW ICEBERG TABLES IN SCHEMA "+n.schemaSQL()); err != nil || len(tables) > 0 {
			t.Errorf("%v, %v", tables, err)
		}
	})
}
