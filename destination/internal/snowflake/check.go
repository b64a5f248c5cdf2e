package snowflake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// An inspection looks for what a sync needs, and collects what is missing.
type inspection struct {
	*registerConfig
	lake     Lake
	client   *client
	role     string          // that needs the privileges
	sessions map[string]bool // which other roles the session has
	missing  []missing
}

// missing is something that a sync needs, with what an administrator must run.
type missing struct {
	what       string
	statements []string
}

func (i *inspection) lacks(what string, statements ...string) {
	i.missing = append(i.missing, missing{what, statements})
}

// explainMissing makes one error of all that is missing.
func explainMissing(all []missing) error {
	if len(all) == 0 {
		return nil
	}
	var what, statements []string
	for _, m := range all {
		what = append(what, m.what)
		statements = append(statements, m.statements...)
	}
	message := "Snowflake is not ready for the tables: " + strings.Join(what, "; ") + "."
	if len(statements) > 0 {
		message += " An administrator must run, with a value in the place of each <…>:\n" + strings.Join(statements, "\n")
	}
	return protocol.ConfigError.Errorf(nil, "%s", message)
}

// check implements mode.
func (c *registerConfig) check(ctx context.Context, lake Lake, tables []*table.Table) error {
	client, err := c.open()
	if err != nil {
		return err
	}
	defer client.close()
	i := &inspection{registerConfig: c, lake: lake, client: client, sessions: map[string]bool{}}
	if i.role, err = client.login(ctx); err != nil {
		return err
	}
	if c.Role != "" {
		i.role = c.Role.name()
	}
	names := map[tableName]*table.Table{}
	schemas := map[string]bool{c.nameOf(tableSource{lake.Namespace, ""}).schema: true}
	for _, t := range tables {
		n := c.nameOf(sourceOf(t.Identifier()))
		if other, taken := names[n]; taken {
			return nameTaken(sourceOf(t.Identifier()).String(), sourceOf(other.Identifier()).String(), n)
		}
		names[n], schemas[n.schema] = t, true
	}
	steps := []func(context.Context) error{i.checkDatabase, i.checkVolume, i.checkIntegration}
	for _, schema := range slices.Sorted(maps.Keys(schemas)) {
		steps = append(steps, func(ctx context.Context) error {
			return i.checkSchema(ctx, tableName{c.Database.name(), schema, ""}, names)
		})
	}
	for _, step := range steps {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return explainMissing(i.missing)
}

// describe runs a statement that shows an object. It returns false if the role does
// not see the object.
func (i *inspection) describe(ctx context.Context, statement string) (rows []map[string]string, seen bool, err error) {
	rows, err = i.client.rows(ctx, statement)
	switch {
	case isMissing(err), numberOf(err) == noPrivilege:
		return nil, false, nil
	case errors.Is(err, context.Canceled):
		return nil, false, err
	case hasNoAnswer(err):
		return nil, false, protocol.TransientError.Errorf(err, "Snowflake did not answer during the check (%s). Try again.", reason(err))
	case err != nil:
		return nil, false, protocol.ConfigError.Errorf(err, "Snowflake refuses a statement of the check: %s.", reason(err))
	}
	return rows, true, nil
}

func (i *inspection) checkDatabase(ctx context.Context) error {
	database := i.Database.sql()
	_, seen, err := i.describe(ctx, "DESCRIBE DATABASE "+database)
	if err == nil && !seen {
		i.lacks("there is no database "+database+" that role "+i.role+" may use",
			fmt.Sprintf("CREATE DATABASE IF NOT EXISTS %s;", database), fmt.Sprintf("GRANT USAGE ON DATABASE %s TO ROLE %s;", database, quote(i.role)))
	}
	return err
}

func (i *inspection) checkVolume(ctx context.Context) error {
	if i.ExternalVolume == "" {
		return nil
	}
	volume, base := i.ExternalVolume.sql(), i.volumeBase(i.lake)
	properties, seen, err := i.describe(ctx, "DESCRIBE EXTERNAL VOLUME "+volume)
	if err != nil {
		return err
	}
	if !seen {
		i.lacks("there is no external volume "+volume+" that role "+i.role+" may use",
			fmt.Sprintf("CREATE EXTERNAL VOLUME IF NOT EXISTS %s STORAGE_LOCATIONS = ((NAME = 'lake' STORAGE_PROVIDER = 'S3' STORAGE_BASE_URL = %s STORAGE_AWS_ROLE_ARN = '<ARN of a role that may read the bucket>')) ALLOW_WRITES = FALSE;",
				volume, literal(strings.TrimSuffix(base, "/")+"/")),
			fmt.Sprintf("GRANT USAGE ON EXTERNAL VOLUME %s TO ROLE %s;", volume, quote(i.role)))
		return nil
	}
	if bases := activeBases(properties); len(bases) > 0 && !slices.ContainsFunc(bases, func(b string) bool { return i.reaches(b, base) }) {
		i.lacks(fmt.Sprintf("the external volume %s is at %s and not at %s; set the configuration's \"snowflake.volume_base_url\" to where it is, which must contain the warehouse", volume, strings.Join(bases, ", "), base))
	}
	return nil
}

// reaches reports whether Snowflake finds the tables with a volume that is at at and
// that the configuration has at base. The paths that Snowflake is told of begin there.
func (i *inspection) reaches(at, base string) bool {
	return i.CatalogSource != objectStore && below(base, at) || sameFile(at, base)
}

// activeBases lists where a described volume is: at its active location if it has one.
func activeBases(properties []map[string]string) (bases []string) {
	active := ""
	for _, p := range properties {
		if strings.EqualFold(p["property"], "ACTIVE") {
			active = p["property_value"]
		}
	}
	for _, p := range properties {
		var location struct {
			Name string `json:"NAME"`
			Base string `json:"STORAGE_BASE_URL"`
		}
		if json.Unmarshal([]byte(p["property_value"]), &location) == nil && location.Base != "" && (active == "" || location.Name == active) {
			bases = append(bases, location.Base)
		}
	}
	return bases
}

// createIntegration is the statement that creates the catalog integration.
func (i *inspection) createIntegration() string {
	namespace := literal(i.lake.Namespace)
	delegation, oauth := "", "TYPE = OAUTH OAUTH_CLIENT_ID = '<client id>' OAUTH_CLIENT_SECRET = '<client secret>' OAUTH_ALLOWED_SCOPES = ('<scope>')"
	if i.ExternalVolume == "" {
		delegation = " ACCESS_DELEGATION_MODE = VENDED_CREDENTIALS"
	}
	source := "OBJECT_STORE TABLE_FORMAT = ICEBERG"
	switch {
	case i.CatalogSource == glue:
		source = "GLUE TABLE_FORMAT = ICEBERG CATALOG_NAMESPACE = " + namespace +
			" GLUE_AWS_ROLE_ARN = '<ARN of a role that may read the catalog>' GLUE_CATALOG_ID = '<AWS account>' GLUE_REGION = '<region>'"
	case i.CatalogSource == icebergREST && i.lake.CatalogType == "glue":
		source = "ICEBERG_REST TABLE_FORMAT = ICEBERG CATALOG_NAMESPACE = " + namespace +
			" REST_CONFIG = (CATALOG_URI = 'https://glue.<region>.amazonaws.com/iceberg' CATALOG_API_TYPE = AWS_GLUE CATALOG_NAME = '<AWS account>'" + delegation + ")" +
			" REST_AUTHENTICATION = (TYPE = SIGV4 SIGV4_IAM_ROLE = '<ARN of a role that may read the catalog>' SIGV4_SIGNING_REGION = '<region>')"
	case i.CatalogSource == icebergREST, i.CatalogSource == polaris:
		source = strings.ToUpper(string(i.CatalogSource)) + " TABLE_FORMAT = ICEBERG CATALOG_NAMESPACE = " + namespace +
			" REST_CONFIG = (CATALOG_URI = '<URI>' CATALOG_NAME = '<warehouse of the catalog>'" + delegation + ") REST_AUTHENTICATION = (" + oauth + ")"
	}
	return fmt.Sprintf("CREATE CATALOG INTEGRATION IF NOT EXISTS %s CATALOG_SOURCE = %s ENABLED = TRUE;", i.CatalogIntegration.sql(), source)
}

func (i *inspection) checkIntegration(ctx context.Context) error {
	integration := i.CatalogIntegration.sql()
	properties, seen, err := i.describe(ctx, "DESCRIBE CATALOG INTEGRATION "+integration)
	if err != nil {
		return err
	}
	if !seen {
		i.lacks("there is no catalog integration "+integration+" that role "+i.role+" may use",
			i.createIntegration(), fmt.Sprintf("GRANT USAGE ON INTEGRATION %s TO ROLE %s;", integration, quote(i.role)))
		return nil
	}
	for _, p := range properties {
		value := p["property_value"]
		switch strings.ToUpper(p["property"]) {
		case "CATALOG_SOURCE":
			if !strings.EqualFold(value, string(i.CatalogSource)) {
				i.lacks(fmt.Sprintf("the catalog integration %s has the CATALOG_SOURCE %s; set the configuration's \"snowflake.catalog_source\" to %q, or name another integration", integration, value, strings.ToLower(value)))
			}
		case "ENABLED":
			if !strings.EqualFold(value, "true") {
				i.lacks("the catalog integration "+integration+" is not enabled", fmt.Sprintf("ALTER CATALOG INTEGRATION %s SET ENABLED = TRUE;", integration))
			}
		}
	}
	return nil
}

// checkSchema looks at a schema and at the tables that it is to have.
func (i *inspection) checkSchema(ctx context.Context, schema tableName, names map[tableName]*table.Table) error {
	grant := fmt.Sprintf("GRANT USAGE, CREATE ICEBERG TABLE ON SCHEMA %s TO ROLE %s;", schema.schemaSQL(), quote(i.role))
	_, seen, err := i.describe(ctx, "DESCRIBE SCHEMA "+schema.schemaSQL())
	if err != nil {
		return err
	}
	if !seen {
		i.lacks("there is no schema "+schema.schemaSQL()+" that role "+i.role+" may use", fmt.Sprintf("CREATE SCHEMA IF NOT EXISTS %s;", schema.schemaSQL()), grant)
		return nil
	}
	grants, seen, err := i.describe(ctx, "SHOW GRANTS ON SCHEMA "+schema.schemaSQL())
	if err != nil {
		return err
	}
	may := !seen // the probe will tell
	for _, g := range grants {
		if privilege := g["privilege"]; may || privilege != "OWNERSHIP" && privilege != "CREATE ICEBERG TABLE" {
			continue
		}
		if may, err = i.has(ctx, g["grantee_name"]); err != nil {
			return err
		}
	}
	if !may {
		i.lacks("role "+i.role+" may not create Iceberg tables in schema "+schema.schemaSQL(), grant)
	}
	tables, seen, err := i.describe(ctx, "SHOW ICEBERG TABLES IN SCHEMA "+schema.schemaSQL())
	if err != nil || !seen {
		return err
	}
	for _, shown := range tables {
		n := tableName{schema.database, schema.schema, shown["name"]}
		if t := names[n]; t != nil {
			if err := i.checkTable(ctx, n, t, shown); err != nil {
				return err
			}
		}
	}
	return nil
}

// checkTable looks at a table that Snowflake has.
func (i *inspection) checkTable(ctx context.Context, n tableName, t *table.Table, shown map[string]string) error {
	if kind := shown["iceberg_table_type"]; kind == "MANAGED" {
		i.lacks(fmt.Sprintf("table %s is managed by Snowflake and is not the one that is to be registered; drop or rename it", n))
		return nil
	}
	for _, its := range []struct {
		key   string
		value identifier
	}{{"catalog_name", i.CatalogIntegration}, {"external_volume_name", i.ExternalVolume}} {
		if value := shown[its.key]; value != "" && its.value != "" && value != its.value.name() {
			i.lacks(fmt.Sprintf("table %s has the %s %s and not %s; drop it in Snowflake, and the next sync registers it again", n, strings.ReplaceAll(strings.TrimSuffix(its.key, "_name"), "_", " "), value, its.value.name()))
			return nil
		}
	}
	owned, err := i.has(ctx, shown["owner"])
	if err != nil {
		return err
	}
	if !owned {
		i.lacks(fmt.Sprintf("table %s belongs to role %s, and only the owner may refresh it", n, shown["owner"]),
			fmt.Sprintf("GRANT OWNERSHIP ON ICEBERG TABLE %s TO ROLE %s COPY CURRENT GRANTS;", n.sql(), quote(i.role)))
		return nil
	}
	at, err := i.client.location(ctx, n)
	if err != nil {
		return i.explain(err, n, i.role)
	}
	if at != "" && !isMetadataOf(at, t) {
		i.lacks(messageOf(otherTable(n, at, t)))
	}
	return nil
}

// has reports whether the session has a role.
func (i *inspection) has(ctx context.Context, role string) (bool, error) {
	if role == i.role {
		return true, nil
	}
	if known, ok := i.sessions[role]; ok {
		return known, nil
	}
	answer, err := i.client.value(ctx, "SELECT IFF(IS_ROLE_IN_SESSION("+literal(role)+"), 'yes', 'no')")
	if err != nil {
		return false, protocol.TransientError.Errorf(err, "Snowflake did not answer during the check (%s). Try again.", reason(err))
	}
	i.sessions[role] = answer == "yes"
	return i.sessions[role], nil
}

// probe implements mode.
func (c *registerConfig) probe(ctx context.Context, lake Lake, t *table.Table) (err error) {
	client, err := c.open()
	if err != nil {
		return err
	}
	defer client.close()
	role, err := client.login(ctx)
	if err != nil {
		return err
	}
	source := sourceOf(t.Identifier())
	n := c.nameOf(source)
	path, err := c.path(lake, t)
	if err != nil {
		return err
	}
	defer func() {
		// It is removed in any case, also when the check was interrupted.
		if dropErr := client.exec(context.WithoutCancel(ctx), n.drop()); dropErr != nil {
			err = errors.Join(err, c.explain(dropErr, n, role))
		}
	}()
	if err := client.exec(ctx, c.create(n, source, path)); err != nil {
		return c.explain(err, n, role)
	}
	at, err := client.location(ctx, n)
	if err != nil {
		return c.explain(err, n, role)
	}
	if !sameFile(at, t.MetadataLocation()) {
		return protocol.ConfigError.Errorf(nil, "Snowflake has the table of the check at %s, and it is at %s: the catalog integration leads to another catalog.", at, t.MetadataLocation())
	}
	return nil
}
