package lake_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A program that makes a table of another one's schema and properties gives its columns
// ids of their own. The values go to the columns of their names all the same.
func TestATableWithThePropertiesOfAnotherKeepsItsColumns(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	text := `"v":{"type":"string"},"w":{"type":"string"}`
	tbl := laketest.OpenTable(t, cat, sending(t, `"dropped":{"type":"string"},`+text), lake.Options{})
	send(t, tbl, `{"v":"1","w":"2"}`)
	changeColumns(t, tbl, func(u *table.UpdateSchema) { u.DeleteColumn([]string{"dropped"}) })
	tbl = laketest.OpenTable(t, cat, sending(t, text), lake.Options{})
	send(t, tbl, `{"v":"3","w":"4"}`)
	old := laketest.Load(t, tbl)
	if err := cat.DropTable(t.Context(), old.Identifier()); err != nil {
		t.Fatal(err)
	}
	fields := old.Schema().Fields()
	for i, f := range fields {
		if f.Name == "v" || f.Name == "w" {
			fields[i].ID-- // without the gap that the dropped column left
		}
	}
	if _, err := cat.CreateTable(t.Context(), old.Identifier(), iceberg.NewSchema(0, fields...), catalog.WithProperties(old.Properties()), catalog.WithLocation(old.Location()+"-copy")); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		tbl = laketest.OpenTable(t, cat, sending(t, text), lake.Options{})
		send(t, tbl, `{"v":"5","w":"6"}`)
	}
	laketest.ExpectRows(t, tbl, `{"v":"5","w":"6"}`, `{"v":"5","w":"6"}`)
	if now := laketest.Load(t, tbl).Schema().Fields(); len(now) != len(fields) {
		t.Errorf("columns %v", now)
	}
}

// A property that another program has spoiled is named, with what to do.
func TestASpoiledPropertyIsNamed(t *testing.T) {
	for _, key := range []string{"airbyte.columns", "airbyte.docs"} {
		cat, plan := laketest.OpenCatalog(t, t.TempDir()), laketest.Plain("s")
		tbl := laketest.OpenTable(t, cat, plan, lake.Options{})
		update(t, tbl, table.NewSetPropertiesUpdate(iceberg.Properties{key: "spoiled"}))
		_, err := lake.Open(t.Context(), cat, plan, lake.Options{})
		var userError *protocol.Error
		if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, "The property "+key+" of table ns.s is not what") {
			t.Errorf("error %v", err)
		}
	}
}
