package snowflake

import (
	"fmt"
	"regexp"
	"strings"
)

// An identifier names an object, as the user writes it in SQL: without quotes it is
// upper-case, in double quotes it is what it says.
type identifier string

// plainIdentifier matches what needs no quotes.
var plainIdentifier = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]*$`)

var quotedIdentifier = regexp.MustCompile(`^"([^"]|"")+"$`)

func (i identifier) valid() bool {
	return len(i) <= 255 && (plainIdentifier.MatchString(string(i)) || quotedIdentifier.MatchString(string(i)))
}

// name is the name that Snowflake stores.
func (i identifier) name() string {
	if quotedIdentifier.MatchString(string(i)) {
		return strings.ReplaceAll(string(i[1:len(i)-1]), `""`, `"`)
	}
	return strings.ToUpper(string(i))
}

// sql writes the identifier.
func (i identifier) sql() string { return quote(i.name()) }

// literal writes the identifier where a statement has it as text.
func (i identifier) literal() string { return literal(quoteIfNeeded(i.name())) }

// quoteIfNeeded writes a name as an identifier, with quotes only if it needs them.
func quoteIfNeeded(name string) string {
	if plainIdentifier.MatchString(name) && strings.ToUpper(name) == name {
		return name
	}
	return quote(name)
}

// quote writes a name as an identifier. There are no bind parameters for names.
func quote(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

var literals = strings.NewReplacer(`\`, `\\`, `'`, `''`)

// literal writes a text. Snowflake reads escapes in literals.
func literal(text string) string { return "'" + literals.Replace(text) + "'" }

// A tableName is where Snowflake has a table.
type tableName struct{ database, schema, table string }

func (n tableName) sql() string {
	return quote(n.database) + "." + quote(n.schema) + "." + quote(n.table)
}

// String is the name for messages.
func (n tableName) String() string {
	return quoteIfNeeded(n.database) + "." + quoteIfNeeded(n.schema) + "." + quoteIfNeeded(n.table)
}

func (n tableName) schemaSQL() string { return quote(n.database) + "." + quote(n.schema) }

// information asks for the metadata file at which Snowflake stands.
func (n tableName) information() string {
	return "SELECT SYSTEM$GET_ICEBERG_TABLE_INFORMATION(" + literal(n.sql()) + ")"
}

func (n tableName) drop() string { return "DROP ICEBERG TABLE IF EXISTS " + n.sql() }

// create registers a table. source is the table in its catalog, and path its metadata
// file, below the base of the external volume.
func (c *registerConfig) create(n tableName, source tableSource, path string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "CREATE ICEBERG TABLE IF NOT EXISTS %s", n.sql())
	if c.ExternalVolume != "" {
		fmt.Fprintf(&b, " EXTERNAL_VOLUME = %s", c.ExternalVolume.literal())
	}
	fmt.Fprintf(&b, " CATALOG = %s", c.CatalogIntegration.literal())
	if c.CatalogSource == objectStore {
		fmt.Fprintf(&b, " METADATA_FILE_PATH = %s", literal(path))
		return b.String()
	}
	// Snowflake does not look for commits by itself: the sync knows when there is one.
	fmt.Fprintf(&b, " CATALOG_TABLE_NAME = %s CATALOG_NAMESPACE = %s AUTO_REFRESH = FALSE", literal(source.table), literal(source.namespace))
	return b.String()
}

// refresh moves Snowflake to a metadata file, or to the one that the catalog has.
func (c *registerConfig) refresh(n tableName, path string) string {
	if c.CatalogSource == objectStore {
		return fmt.Sprintf("ALTER ICEBERG TABLE %s REFRESH %s", n.sql(), literal(path))
	}
	return fmt.Sprintf("ALTER ICEBERG TABLE %s REFRESH", n.sql())
}
