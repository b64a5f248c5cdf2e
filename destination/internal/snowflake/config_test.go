package snowflake

import (
	"encoding/json"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake/snowflaketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestConfigurationsNameTheRemedy(t *testing.T) {
	w := &world{t: t, account: &snowflaketest.Account{}}
	lake := Lake{Warehouse: "s3://bucket/lake", Namespace: "whoop", CatalogType: "postgres"}
	for name, tc := range map[string]struct {
		settings map[string]any
		lake     Lake
		want     string // "": it is right
	}{
		"right":                   {nil, lake, ""},
		"volume above":            {map[string]any{"volume_base_url": "s3://bucket/"}, lake, ""},
		"volume elsewhere":        {map[string]any{"volume_base_url": "s3://bucket/la"}, lake, `"warehouse" is not below "snowflake.volume_base_url"`},
		"local files":             {nil, Lake{Warehouse: "file:///lake", CatalogType: "sqlite"}, `its "warehouse" is not on S3`},
		"address as account":      {map[string]any{"account": "https://x.snowflakecomputing.com"}, lake, `"snowflake.account" is not an account identifier`},
		"no user":                 {map[string]any{"user": ""}, lake, `no "snowflake.user"`},
		"no database":             {map[string]any{"database": ""}, lake, `no "snowflake.database"`},
		"statement as database":   {map[string]any{"database": `x"; DROP DATABASE y; --`}, lake, `"snowflake.database" is`},
		"no volume":               {map[string]any{"external_volume": nil}, lake, `no "snowflake.external_volume"`},
		"no integration":          {map[string]any{"catalog_integration": nil}, lake, `no "snowflake.catalog_integration"`},
		"glue without glue":       {map[string]any{"catalog_source": "glue"}, lake, `Set it to "object_store"`},
		"polaris with glue":       {map[string]any{"catalog_source": "polaris"}, Lake{Warehouse: "s3://b/l", CatalogType: "glue"}, `Set the first to "iceberg_rest"`},
		"REST of glue":            {map[string]any{"catalog_source": "iceberg_rest"}, Lake{Warehouse: "s3://b/l", CatalogType: "glue"}, ""},
		"glue":                    {map[string]any{"catalog_source": "glue"}, Lake{Warehouse: "s3://b/l", CatalogType: "glue"}, ""},
		"plain HTTP":              {map[string]any{"endpoint": "http://example.com"}, lake, `"snowflake.endpoint" is not the address`},
		"no authentication":       {map[string]any{"auth": map[string]any{}}, lake, `no "snowflake.auth.type"`},
		"key of another way":      {map[string]any{"auth": map[string]any{"type": "pat", "token": "x", "private_key": "y"}}, lake, `"snowflake.auth.private_key"`},
		"OAuth without an issuer": {map[string]any{"auth": map[string]any{"type": "oauth", "client_id": "x", "client_secret": "y"}}, lake, `"snowflake.auth.token_uri"`},
		"linked to a database":    {map[string]any{"mode": "linked", "catalog_integration": nil, "external_volume": nil}, lake, `Set it to "register"`},
		"linked":                  {map[string]any{"mode": "linked", "catalog_integration": nil, "external_volume": nil}, Lake{Warehouse: "s3://b/l", CatalogType: "rest"}, ""},
		"linked with a volume":    {map[string]any{"mode": "linked"}, Lake{Warehouse: "s3://b/l", CatalogType: "rest"}, `Set it to "register", or remove`},
	} {
		t.Run(name, func(t *testing.T) {
			settings := map[string]any{"endpoint": "https://x.privatelink.snowflakecomputing.com"}
			for key, value := range tc.settings {
				settings[key] = value
			}
			err := w.config(settings).Validate(tc.lake)
			if tc.want == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			expectError(t, err, protocol.ConfigError, tc.want)
		})
	}
}

// Without the setting, Snowflake is not asked anything.
func TestNoneIsTheDefault(t *testing.T) {
	c := Default()
	if err := json.Unmarshal([]byte(`{}`), &c); err != nil || c.Enabled() {
		t.Errorf("%v, %v", c, err)
	}
	if err := c.Validate(Lake{Warehouse: "file:///lake"}); err != nil {
		t.Error(err)
	}
	f, err := c.NewRefresher(Lake{}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	f.Committed(t.Context(), nil)
	if err := f.Finish(t.Context()); err != nil {
		t.Error(err)
	}
}
