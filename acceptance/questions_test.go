//go:build acceptance

package acceptance

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/schemas"
)

// The questions of docs/queries.md, answered on the tables of the demo by DuckDB and by Spark. What
// Snowflake is to be asked is only parsed. Spark shows the descriptions of the source as comments.
func TestQuestionsAreAnswered(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile(filepath.Join(repository, "docs/queries.md"))
	if err != nil {
		t.Fatal(err)
	}
	blocks := func(language string) (queries []string) {
		for _, block := range regexp.MustCompile("(?s)```"+language+"\n(.*?)```").FindAllSubmatch(page, -1) {
			queries = append(queries, string(block[1]))
		}
		return queries
	}
	queries, forSnowflake := blocks("sql"), blocks("sql snowflake")
	if len(queries) != 15 || len(forSnowflake) != 15 {
		t.Fatalf("%d questions, of which %d are for Snowflake, too", len(queries), len(forSnowflake))
	}
	ask(t, filepath.Join(repository, ".cache/sqlglot/bin/python"), "snowflake_syntax.py", forSnowflake)

	dir := localDemo(t)
	l := &lake{t: t, dir: filepath.Join(dir, "lake"), config: filepath.Join(dir, "lake/destination.json")}
	tables := map[string]string{}
	for table, metadata := range l.metadataLocations() {
		tables[strings.TrimPrefix(table, "whoop.")] = metadata
	}
	java, err := programs().Java()
	if err != nil {
		t.Fatal(err)
	}
	jars, err := filepath.Glob(filepath.Join(repository, ".cache/jars/iceberg-*.jar"))
	if err != nil {
		t.Fatal(err)
	}
	type answered struct {
		Answers  [][][]any
		Comments map[string]map[string]string
	}
	answers := map[string]answered{}
	for engine, python := range map[string]string{"duckdb": python, "spark": filepath.Join(repository, ".cache/spark/bin/python")} {
		out := ask(t, python, "questions.py", map[string]any{"engine": engine, "jars": jars, "tables": tables, "queries": queries}, "JAVA_HOME="+filepath.Dir(filepath.Dir(java)))
		var a answered
		unmarshal(t, out, &a)
		answers[engine] = a
	}
	for i, query := range queries {
		got := answers["duckdb"].Answers[i]
		if len(got) == 0 {
			t.Errorf("no answer to\n%s", query)
		}
		if diff := cmp.Diff(got, answers["spark"].Answers[i]); diff != "" {
			t.Errorf("answers of DuckDB (-) and Spark (+) to\n%s\n%s", query, diff)
		}
	}
	var sleep struct {
		Properties map[string]struct{ Description string }
	}
	schema, err := schemas.Get("sleep")
	if err != nil {
		t.Fatal(err)
	}
	unmarshal(t, schema, &sleep)
	for column, property := range sleep.Properties {
		if got := answers["spark"].Comments["sleep"][column]; property.Description == "" || got != property.Description {
			t.Errorf("Spark's comment of sleep.%s is %q, want %q", column, got, property.Description)
		}
	}
}
