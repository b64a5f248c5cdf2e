package catalogs

import (
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"slices"
	"sync"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs/resttest"
)

type newCatalog func(*testing.T) Config

// catalogKinds is one row for each kind: the configuration of a catalog that is
// not there yet.
var catalogKinds = map[string]newCatalog{
	"sqlite": func(*testing.T) Config { return sqliteFile },
	"rest": func(t *testing.T) Config {
		warehouse := "file://" + t.TempDir()
		return configure("rest", "uri", (&resttest.Server{Files: at(t, warehouse).Files(), Warehouse: warehouse}).Start().URL)
	},
}

// What every kind of catalog promises.
func TestCatalogs(t *testing.T) {
	for kind, configure := range catalogKinds {
		for name, test := range map[string]func(*testing.T, newCatalog){
			"looking finds what was written":         lookingFindsWhatWasWritten,
			"a stale commit is refused for certain":  staleCommitIsRefusedForCertain,
			"what others committed is loaded":        loadsWhatOthersCommitted,
			"many open at once":                      manyOpenAtOnce,
			"metadata files have one remover":        metadataFilesHaveOneRemover,
			"tables of nested namespaces are listed": listsNestedNamespaces,
		} {
			t.Run(kind+"/"+name, func(t *testing.T) { test(t, configure) })
		}
	}
}

func lookingFindsWhatWasWritten(t *testing.T, configure newCatalog) {
	cfg := configure(t)
	warehouse := "file://" + t.TempDir()
	cat := openWith(t, cfg, warehouse)
	if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "t"}, schema); err != nil {
		t.Fatal(err)
	}
	for range 2 { // while the writer is there, and with another reader
		look, err := OpenExisting(t.Context(), cfg, at(t, warehouse))
		if err != nil {
			t.Fatal(err)
		}
		defer look.Close()
		if _, err := look.LoadTable(t.Context(), table.Identifier{"ns", "t"}); err != nil {
			t.Error(err)
		}
		if _, err := look.LoadTable(t.Context(), table.Identifier{"ns", "other"}); !errors.Is(err, catalog.ErrNoSuchTable) {
			t.Errorf("error %v", err)
		}
	}
}

// Whoever commits on a table that has moved on is told so in a way that can be
// acted on, and what the other did stays.
func staleCommitIsRefusedForCertain(t *testing.T, configure newCatalog) {
	cfg := configure(t)
	cat := openWith(t, cfg, "file://"+t.TempDir())
	id := table.Identifier{"ns", "t"}
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	stale, err := cat.CreateTable(t.Context(), id, schema)
	if err != nil {
		t.Fatal(err)
	}
	head := int64(7)
	for _, requirement := range []table.Requirement{
		table.AssertRefSnapshotID(table.MainBranch, &head), table.AssertCurrentSchemaID(7), table.AssertLastAssignedFieldID(7),
	} {
		_, _, err = cat.CommitTable(t.Context(), id,
			[]table.Requirement{table.AssertTableUUID(stale.Metadata().TableUUID()), requirement},
			[]table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"k": "v"})})
		if !errors.Is(err, table.ErrCommitFailed) {
			t.Errorf("%s: error %v", requirement.GetType(), err)
		}
	}
	if now, err := cat.LoadTable(t.Context(), id); err != nil || now.MetadataLocation() != stale.MetadataLocation() {
		t.Errorf("the table moved: %v", err)
	}
}

// A table is loaded as it is, whoever has changed it, although it is read only
// when it has changed where the catalog can tell.
func loadsWhatOthersCommitted(t *testing.T, configure newCatalog) {
	cfg := configure(t)
	warehouse := "file://" + t.TempDir()
	one, other := openWith(t, cfg, warehouse), openWith(t, cfg, warehouse)
	id := table.Identifier{"ns", "t"}
	if err := one.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := one.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	load := func(cat *Catalog) *table.Table {
		t.Helper()
		loaded, err := cat.LoadTable(t.Context(), id)
		if err != nil {
			t.Fatal(err)
		}
		return loaded
	}
	first := load(one)
	if _, tells := one.Backend.(FreshnessChecker); tells && load(one) != first {
		t.Error("a table that has not changed was read again")
	}
	for n, by := range []*Catalog{one, other, other, one} {
		_, location, err := by.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"n": fmt.Sprint(n)})})
		if err != nil {
			t.Fatal(err)
		}
		if load(by).MetadataLocation() != location {
			t.Error("what was just committed is not what is loaded")
		}
		fresh := openWith(t, cfg, warehouse)
		for _, cat := range []*Catalog{one, other} {
			if got := load(cat); !got.Metadata().Equals(load(fresh).Metadata()) || got.Properties()["n"] != fmt.Sprint(n) {
				t.Errorf("after commit %d a table of n %s was loaded", n, got.Properties()["n"])
			}
		}
	}
	before := load(one).Metadata().TableUUID()
	if err := other.DropTable(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	if _, err := one.LoadTable(t.Context(), id); !errors.Is(err, catalog.ErrNoSuchTable) {
		t.Errorf("error %v for a table that is gone", err)
	}
	if _, err := other.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	if load(one).Metadata().TableUUID() == before {
		t.Error("a table that was created again was taken for the old one")
	}
}

// The metadata files that a table does not list any more are removed by the catalog,
// or are left to whoever commits, as it says.
func metadataFilesHaveOneRemover(t *testing.T, configure newCatalog) {
	cat := openWith(t, configure(t), "file://"+t.TempDir())
	id := table.Identifier{"ns", "t"}
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	first, err := cat.CreateTable(t.Context(), id, schema, catalog.WithProperties(iceberg.Properties{
		table.MetadataDeleteAfterCommitEnabledKey: "true", table.MetadataPreviousVersionsMaxKey: "1",
	}))
	if err != nil {
		t.Fatal(err)
	}
	for n := range 3 {
		if _, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"n": fmt.Sprint(n)})}); err != nil {
			t.Fatal(err)
		}
	}
	files, err := first.FS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	f, err := files.Open(first.MetadataLocation())
	if err == nil {
		err = f.Close()
	}
	switch gone := errors.Is(err, fs.ErrNotExist); {
	case err != nil && !gone:
		t.Fatal(err)
	case gone == cat.ClientRemovesMetadata():
		t.Errorf("the first metadata file is gone: %v; the client removes it: %v", gone, cat.ClientRemovesMetadata())
	}
}

// Opening, making namespaces and making tables all at once, as several
// processes do, ends with one of each.
func manyOpenAtOnce(t *testing.T, configure newCatalog) {
	for range 10 {
		openManyAtOnce(t, configure(t), "file://"+t.TempDir())
	}
}

func openManyAtOnce(t *testing.T, cfg Config, warehouse string) {
	t.Helper()
	var all sync.WaitGroup
	made := make(chan error, 8)
	for range cap(made) {
		all.Go(func() {
			cat, err := Open(t.Context(), cfg, at(t, warehouse))
			if err != nil {
				t.Error(err)
				return
			}
			defer cat.Close()
			if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil && !errors.Is(err, catalog.ErrNamespaceAlreadyExists) {
				t.Errorf("namespace: %v", err)
			}
			_, err = cat.CreateTable(t.Context(), table.Identifier{"ns", "t"}, schema)
			made <- err
		})
	}
	all.Wait()
	close(made)
	first := 0
	for err := range made {
		switch {
		case err == nil:
			first++
		case !errors.Is(err, catalog.ErrTableAlreadyExists):
			t.Error(err)
		}
	}
	if first != 1 {
		t.Errorf("%d made the table", first)
	}
}

func listsNestedNamespaces(t *testing.T, configure newCatalog) {
	cat := openWith(t, configure(t), "file://"+t.TempDir())
	var want []table.Identifier
	for _, namespace := range []table.Identifier{{"a"}, {"a", "b"}, {"a", "b", "c"}, {"d"}} {
		if err := cat.CreateNamespace(t.Context(), namespace, nil); err != nil {
			t.Fatal(err)
		}
		id := append(slices.Clone(namespace), "t")
		if _, err := cat.CreateTable(t.Context(), id, schema); err != nil {
			t.Fatal(err)
		}
		want = append(want, id)
	}
	slices.SortFunc(want, slices.Compare)
	got, err := TableIDs(t.Context(), cat)
	if diff := cmp.Diff(want, got); err != nil || diff != "" {
		t.Errorf("tables (-want +got): %v\n%s", err, diff)
	}
}

// A server that knows no nested namespaces may refuse to be asked for them.
func TestNamespacesThatCannotBeNested(t *testing.T) {
	warehouse := "file://" + t.TempDir()
	server := &resttest.Server{Files: at(t, warehouse).Files(), Warehouse: warehouse, Front: func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Query().Has("parent") {
				(&resttest.Refusal{Code: http.StatusBadRequest, Type: "BadRequestException", Message: "namespaces have one level"}).Write(w)
				return
			}
			next.ServeHTTP(w, r)
		})
	}}
	cat := openWith(t, configure("rest", "uri", server.Start().URL), warehouse)
	if err := cat.CreateNamespace(t.Context(), table.Identifier{"a"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), table.Identifier{"a", "t"}, schema); err != nil {
		t.Fatal(err)
	}
	if got, err := TableIDs(t.Context(), cat); err != nil || len(got) != 1 {
		t.Errorf("tables %v, error %v", got, err)
	}
}
