package snowflake

import (
	"slices"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake/snowflaketest"
)

// Whatever the names are, a statement has the tokens that it should have, and no more.
func FuzzStatements(f *testing.F) {
	f.Add("DB", "whoop", "sleep", "whoop.db/sleep/metadata/1.metadata.json")
	f.Add(`a"b`, `it's`, `\`, `\' OR '`)
	f.Add("\x00\n", `""`, `\\''`, "Ünï\u2028")
	f.Fuzz(func(t *testing.T, database, schema, name, path string) {
		for _, text := range []string{database, schema, name, path} {
			if strings.ToValidUTF8(text, "") != text {
				return // names are from JSON
			}
		}
		c := &registerConfig{CatalogSource: objectStore, CatalogIntegration: identifier(quote(database)), ExternalVolume: "v"}
		n := tableName{database, schema, name}
		parsed := func(statement string) []string {
			tokens, err := snowflaketest.Tokens(statement)
			if err != nil {
				t.Fatalf("%s: %v", statement, err)
			}
			return tokens
		}
		named := []string{database, ".", schema, ".", name}
		if got := parsed(c.refresh(n, path)); !slices.Equal(got, slices.Concat([]string{"ALTER", "ICEBERG", "TABLE"}, named, []string{"REFRESH", path})) {
			t.Errorf("%q", got)
		}
		if got := parsed(c.create(n, tableSource{}, path)); !slices.Equal(got[6:11], named) || len(got) != 20 || got[19] != path {
			t.Errorf("%q", got)
		}
		got := parsed(n.information())
		if len(got) != 5 || !slices.Equal(parsed(got[3]), named) {
			t.Errorf("%q", got)
		}
	})
}

func TestIdentifiersAreReadAsInSQL(t *testing.T) {
	for text, want := range map[string]string{
		"lake": "LAKE", "Lake_1$": "LAKE_1$", `"lake"`: "lake", `"a ""b"" c"`: `a "b" c`,
		"": "", "a b": "", `"`: "", `""`: "", `"a"b"`: "", "a.b": "", `a"`: "", "1a": "", strings.Repeat("a", 256): "",
	} {
		i := identifier(text)
		if i.valid() != (want != "") || want != "" && i.name() != want {
			t.Errorf("%q is %v, %q", text, i.valid(), i.name())
		}
	}
}
