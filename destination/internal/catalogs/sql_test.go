package catalogs

import (
	"database/sql"
	"errors"
	"path/filepath"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// A table of the same name in another namespace may have the same metadata file, as when a table was registered twice. What becomes of one says nothing of the other.
func TestATableOfTheSameNameInAnotherNamespaceIsAnother(t *testing.T) {
	dir := t.TempDir()
	cat, second := openWith(t, sqliteFile, "file://"+dir), openWith(t, sqliteFile, "file://"+dir)
	one, other := table.Identifier{"one", "t"}, table.Identifier{"other", "t"}
	for _, id := range []table.Identifier{one, other} {
		if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := cat.CreateTable(t.Context(), one, schema); err != nil {
		t.Fatal(err)
	}
	known, err := cat.LoadTable(t.Context(), one)
	if err != nil {
		t.Fatal(err)
	}
	db, err := sql.Open("sqlite", "file:"+filepath.Join(dir, "catalog.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "INSERT INTO iceberg_tables (catalog_name, table_namespace, table_name, metadata_location) VALUES ('default', 'other', 't', ?)", known.MetadataLocation()); err != nil {
		t.Fatal(err)
	}
	set := func(cat *Catalog, value string) {
		t.Helper()
		if _, _, err := cat.CommitTable(t.Context(), one, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"k": value})}); err != nil {
			t.Fatal(err)
		}
	}
	set(second, "v")
	if now, err := cat.LoadTable(t.Context(), one); err != nil || now.Properties()["k"] != "v" {
		t.Errorf("what was known is taken for what is there: error %v", err)
	}
	set(cat, "w")
	if now, err := cat.LoadTable(t.Context(), other); err != nil || now.MetadataLocation() != known.MetadataLocation() {
		t.Errorf("the other table moved: error %v", err)
	}
}

// Where a table's metadata is can be asked and changed without it being there, unless somebody else was quicker.
func TestTheMetadataOfATableIsSetOnce(t *testing.T) {
	cat := openWith(t, sqliteFile, "file://"+t.TempDir())
	id := table.Identifier{"ns", "t"}
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	made, err := cat.CreateTable(t.Context(), id, schema)
	if err != nil {
		t.Fatal(err)
	}
	if err := cat.SetMetadataLocation(t.Context(), id, made.MetadataLocation(), "file:///elsewhere/a.metadata.json"); err != nil {
		t.Fatal(err)
	}
	if err := cat.SetMetadataLocation(t.Context(), id, made.MetadataLocation(), "file:///elsewhere/b.metadata.json"); !errors.Is(err, table.ErrCommitFailed) {
		t.Errorf("error %v", err)
	}
	if at, err := cat.MetadataLocation(t.Context(), id); err != nil || at != "file:///elsewhere/a.metadata.json" {
		t.Errorf("it is at %s (error %v)", at, err)
	}
}
