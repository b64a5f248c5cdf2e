//go:build acceptance

package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

// A measured is a lake of one stream of measurements, and the rows that its tables should have.
type measured struct {
	*lake
	options map[string]any
	random  *rand.Rand
	at      int // the last version
}

const (
	measurementSchema = `{"type":"object","properties":{"id":{"type":"integer"},"version":{"type":"integer"},"name":{"type":["null","string"]},
		"at":{"type":["null","string"],"format":"date-time"},"_ab_cdc_deleted_at":{"type":["null","string"],"format":"date-time"}%s}}`
	// Iceberg calls the partition field of bucket(3, id) as the second of them.
	laterProperties = `,"score":{"type":["null","object"],"properties":{"strain":{"type":["null","number"]},"tags":{"type":"array","items":{"type":"string"}}}},"id_bucket_3":{"type":["null","string"]},
		"größe in cm":{"type":["null","integer"]}`
)

// sync writes changes of 200 of 300 rows of a stream: new, changed and deleted ones.
func (m *measured) sync(stream string, want map[string]string, partitions []string, withScore bool) {
	m.t.Helper()
	m.options["streams"] = []any{map[string]any{"name": stream, "partition_by": partitions}}
	writeJSON(m.t, m.config, m.options)
	schema := fmt.Sprintf(measurementSchema, "")
	if withScore {
		schema = fmt.Sprintf(measurementSchema, laterProperties)
	}
	catalog := m.configure(stream, schema, []string{"version"}, "id")
	var records []string
	for range 200 {
		id := fmt.Sprint(m.random.IntN(300))
		m.at++
		if m.random.IntN(6) == 0 {
			delete(want, id)
			records = append(records, fmt.Sprintf(`{"id":%s,"version":%d,"_ab_cdc_deleted_at":"2026-01-01T00:00:00Z"}`, id, m.at))
			continue
		}
		score, kept := "", `null`
		if withScore {
			kept = fmt.Sprintf(`{"strain":%d.5,"tags":["a","%s"]}`, m.at, id)
			score = `,"größe in cm":` + id + `,"score":` + kept
		}
		values := fmt.Sprintf(`"id":%s,"version":%d,"name":"row %s","at":"20%02d-02-03T04:05:06.000007Z"`, id, m.at, id, 10+m.at%15)
		records = append(records, "{"+values+score+"}")
		want[id] = "{" + values + `,"score":` + kept + "}"
	}
	m.write(catalog, messages(stream, records...))
}

// Spark, PyIceberg and DuckDB read the same of tables in a REST catalog and in Glue, and all that was
// written: after changes of rows, of columns and of partitions, with deletes and after a compaction.
func TestSparkReadsSharedCatalogs(t *testing.T) {
	t.Parallel()
	store, moto := serve(t, programs().VersityGW), serve(t, programs().Moto)
	nessie := serve(t, func(ctx context.Context) (*servers.Server, error) { return programs().Nessie(ctx, store) })
	lakes := map[string]*measured{}
	wants := map[string]map[string]string{} // rows by id, by table
	for name, config := range map[string]map[string]any{
		"nessie": {"warehouse": servers.NessieWarehouse, "catalog": map[string]any{"type": "rest", "uri": nessie.Endpoint}, "storage": store.Storage()},
		"glue":   {"warehouse": "s3://" + servers.Bucket + "/glue", "catalog": map[string]any{"type": "glue", "endpoint": moto.Endpoint}, "storage": moto.Storage()},
	} {
		lakes[name] = newMeasured(t, config)
		for table, want := range lakes[name].writeHistories() {
			wants[name+"."+table] = want
		}
	}
	spark := readBySpark(t, wants, map[string]map[string]string{
		"nessie": {"type": "rest", "uri": nessie.Endpoint},
		"glue":   glueCatalog(moto, "s3://"+servers.Bucket+"/glue"),
	})
	for name, m := range lakes {
		m.wantSame(name, map[string]string{"nessie": nessie.Endpoint}[name], wants, spark)
	}
}

// The same of catalogs in a database. To Spark's JDBC catalog, the catalog's name is "default".
func TestSparkReadsSQLCatalogs(t *testing.T) {
	t.Parallel()
	store := serve(t, programs().VersityGW)
	for kind, open := range map[string]func(t *testing.T) (catalog map[string]any, jdbc map[string]string){
		"postgres": func(t *testing.T) (map[string]any, map[string]string) {
			uri := serve(t, servers.Postgres).Endpoint
			u, err := url.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			password, _ := u.User.Password()
			return map[string]any{"type": "postgres", "uri": uri}, map[string]string{"uri": "jdbc:postgresql://" + u.Host + u.Path, "jdbc.user": u.User.Username(), "jdbc.password": password}
		},
		"sqlite": func(t *testing.T) (map[string]any, map[string]string) {
			path := filepath.Join(t.TempDir(), "catalog.db")
			return map[string]any{"type": "sqlite", "path": path}, map[string]string{"uri": "jdbc:sqlite:" + path}
		},
	} {
		t.Run(kind, func(t *testing.T) {
			catalog, jdbc := open(t)
			warehouse := "s3://" + servers.Bucket + "/" + kind
			m := newMeasured(t, map[string]any{"warehouse": warehouse, "catalog": catalog, "storage": store.Storage()})
			wants := map[string]map[string]string{}
			for table, want := range m.writeHistories() {
				wants["default."+table] = want
			}
			properties := map[string]string{"type": "jdbc", "jdbc.schema-version": "V1"}
			maps.Copy(properties, filesOn(store, warehouse))
			maps.Copy(properties, jdbc)
			m.wantSame("default", "", wants, readBySpark(t, wants, map[string]map[string]string{"default": properties}))
		})
	}
}

func newMeasured(t *testing.T, config map[string]any) *measured {
	t.Helper()
	config["namespace"], config["names"], config["upsert"], config["maintenance"] = "spark", "preserve", "merge_on_read", map[string]any{"on_write": false}
	return &measured{lake: newLake(t, t.TempDir(), nil), options: config, random: rand.New(rand.NewPCG(5, 6))}
}

// writeHistories writes two tables, of which one is compacted at the end, and returns their rows by id.
func (m *measured) writeHistories() map[string]map[string]string {
	m.t.Helper()
	wants := map[string]map[string]string{}
	for _, stream := range []string{"compacted", "items"} {
		want := map[string]string{}
		wants["spark."+stream] = want
		m.sync(stream, want, nil, false)
		m.sync(stream, want, []string{"bucket(3, id)"}, false)
		m.sync(stream, want, []string{"bucket(3, id)"}, true)
		m.sync(stream, want, []string{"month(at)", "truncate(100, größe in cm)"}, true)
		if stream == "compacted" {
			m.run("maintain", "--config", m.config)
		}
	}
	return wants
}

// wantSame checks what Spark has read of the lake's tables, whose catalog has a name there, against the rows and against other engines.
func (m *measured) wantSame(catalog, rest string, wants map[string]map[string]string, spark map[string]reading) {
	m.t.Helper()
	others := m.read(rest)
	for table, engines := range others {
		name := catalog + "." + table
		got := spark[name]
		if diff := cmp.Diff(wants[name], m.measurements(got)); diff != "" {
			m.t.Errorf("rows of %s to Spark (-want +got):\n%.3000s", name, diff)
		}
		deletes := got.Files["position_deletes"]
		if compacted := strings.HasSuffix(table, "compacted"); compacted != (deletes == 0) || got.Files["equality_deletes"] != 0 {
			m.t.Errorf("%s has the files %v", name, got.Files)
		}
		for engine, other := range engines {
			other.mendLists(got)
			if diff := cmp.Diff(got, other); diff != "" {
				m.t.Errorf("%s is not the same to both (-Spark +%s):\n%.3000s", name, engine, diff)
			}
		}
	}
	if len(others) != 2 {
		m.t.Errorf("%s has %d tables", catalog, len(others))
	}
}

// glueCatalog are the properties of a catalog of Spark whose tables are in Glue and in S3, which moto is both of.
func glueCatalog(moto *servers.Server, warehouse string) map[string]string {
	properties := filesOn(moto, warehouse)
	properties["type"], properties["glue.endpoint"] = "glue", moto.Endpoint
	return properties
}

// filesOn are the properties by which a catalog of Spark finds files on S3.
func filesOn(store *servers.Server, warehouse string) map[string]string {
	return map[string]string{
		"io-impl": "org.apache.iceberg.aws.s3.S3FileIO", "warehouse": warehouse,
		"s3.endpoint": store.Endpoint, "s3.path-style-access": "true", "s3.access-key-id": servers.AccessKeyID, "s3.secret-access-key": servers.SecretAccessKey,
	}
}

// readBySpark reads tables after some statements.
func readBySpark(t *testing.T, tables map[string]map[string]string, catalogs map[string]map[string]string, statements ...string) map[string]reading {
	t.Helper()
	jars, environment := sparkPrograms(t)
	settings, keys := map[string]string{}, map[string]string{}
	for name, properties := range catalogs {
		catalog := "spark.sql.catalog." + name
		settings[catalog], settings[catalog+".client.region"] = "org.apache.iceberg.spark.SparkCatalog", servers.Region
		settings[catalog+".cache-enabled"] = "false"
		for key, value := range properties {
			settings[catalog+"."+key] = value
		}
	}
	for table := range tables {
		keys[table] = "id"
	}
	out := ask(t, filepath.Join(repository, ".cache/spark/bin/python"), "spark_read.py", map[string]any{"jars": jars, "settings": settings, "statements": statements, "tables": keys},
		append(environment, "AWS_ACCESS_KEY_ID="+servers.AccessKeyID, "AWS_SECRET_ACCESS_KEY="+servers.SecretAccessKey)...)
	return decodeReadings[reading](t, out)
}

// sparkPrograms are the Java programs that Spark needs for Iceberg and its catalogs, and what its environment
// must say.
func sparkPrograms(t *testing.T) (jars, environment []string) {
	t.Helper()
	java, err := programs().Java()
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"iceberg-*.jar", "postgresql-*.jar", "sqlite-jdbc-*.jar"} {
		found, err := filepath.Glob(filepath.Join(repository, ".cache/jars", name))
		if err != nil || len(found) == 0 {
			t.Fatalf("no %s in .cache/jars (%v): run make engines", name, err)
		}
		jars = append(jars, found...)
	}
	return jars, []string{"JAVA_HOME=" + filepath.Dir(filepath.Dir(java))}
}

// readFromStore reads tables on S3 by PyIceberg and DuckDB: by their names, the metadata file of each
// and the columns to sort by. A REST catalog is asked for the metadata file.
func (l *lake) readFromStore(storage any, rest string, tables map[string][2]string) map[string]map[string]reading {
	l.t.Helper()
	out := ask(l.t, python, "s3_read.py", map[string]any{"store": storage, "rest": rest, "tables": tables})
	return decodeReadings[map[string]reading](l.t, out)
}

// read reads all tables of the lake.
func (m *measured) read(rest string) map[string]map[string]reading {
	m.t.Helper()
	asked := map[string][2]string{}
	for table, metadata := range m.metadataLocations() {
		asked[table] = [2]string{metadata, "id"}
	}
	return m.readFromStore(m.options["storage"], rest, asked)
}

// metadataLocations are the metadata files of all tables, by namespace and name.
func (l *lake) metadataLocations() map[string]string {
	l.t.Helper()
	var tables []struct {
		Table    string
		Metadata string `json:"metadata_location"`
	}
	unmarshal(l.t, l.run("tables", "--config", l.config, "--json"), &tables)
	locations := map[string]string{}
	for _, table := range tables {
		locations[table.Table] = table.Metadata
	}
	return locations
}

// ask runs a script with a question on its standard input.
func ask(t testing.TB, python, name string, question any, env ...string) []byte {
	t.Helper()
	text, err := json.Marshal(question)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), python, filepath.Join(repository, "acceptance/engines", name))
	cmd.Stdin, cmd.Env = bytes.NewReader(text), append(os.Environ(), env...)
	out, err := finish(cmd)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func decodeReadings[R any](t testing.TB, text []byte) map[string]R {
	t.Helper()
	var readings map[string]R
	dec := json.NewDecoder(bytes.NewReader(text))
	dec.UseNumber()
	if err := dec.Decode(&readings); err != nil {
		t.Fatal(err)
	}
	return readings
}

// measurements are the rows of a reading as sync writes them, by id.
func (m *measured) measurements(r reading) map[string]string {
	rows := map[string]string{}
	for _, row := range r.Rows {
		values := row.(map[string]any)
		score := "null"
		if s, ok := values["score"].(map[string]any); ok {
			tags, err := json.Marshal(s["tags"])
			if err != nil {
				m.t.Fatal(err)
			}
			score = fmt.Sprintf(`{"strain":%v,"tags":%s}`, s["strain"], tags)
		}
		id := fmt.Sprint(values["id"])
		rows[id] = fmt.Sprintf(`{"id":%s,"version":%v,"name":"%v","at":"%v","score":%s}`, id, values["version"], values["name"], values["at"], score)
	}
	if len(rows) != len(r.Rows) {
		m.t.Errorf("%d rows with %d keys", len(r.Rows), len(rows))
	}
	return rows
}
