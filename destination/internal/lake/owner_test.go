package lake_test

import (
	"errors"
	"io/fs"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// plansOf plans streams as they are written in a catalog: "name" or
// "namespace/name".
func plansOf(t *testing.T, names columns.Names, streams ...string) []*columnar.Plan {
	t.Helper()
	var plans []*columnar.Plan
	for _, s := range streams {
		namespace, name, ok := strings.Cut(s, "/")
		if !ok {
			namespace, name = "", s
		}
		p, err := columnar.NewPlan(protocol.ConfiguredStream{
			Stream: protocol.Stream{Name: name, Namespace: namespace}, DestinationSyncMode: protocol.Append,
		}, columnar.Options{Namespace: "airbyte", Names: names})
		if err != nil {
			t.Fatal(err)
		}
		plans = append(plans, p)
	}
	return plans
}

func TestResolveKeepsEachStreamInItsTable(t *testing.T) {
	type run struct{ streams, tables []string }
	for name, tc := range map[string]struct {
		names columns.Names
		runs  []run
	}{
		"the name that needed no change is preferred, whatever the order": {columns.Lowercase, []run{
			{[]string{"My Sleep", "My_Sleep", "my_sleep"}, []string{"my_sleep_521ec5b6", "my_sleep_6962015c", "my_sleep"}},
			{[]string{"my_sleep", "My_Sleep", "My Sleep"}, []string{"my_sleep", "my_sleep_6962015c", "my_sleep_521ec5b6"}},
			{[]string{"My Sleep"}, []string{"my_sleep_521ec5b6"}},
		}},
		"who has the table keeps it": {columns.Lowercase, []run{
			{[]string{"My Sleep"}, []string{"my_sleep"}},
			{[]string{"my_sleep", "My Sleep"}, []string{"my_sleep_aa56b952", "my_sleep"}},
			{[]string{"my_sleep"}, []string{"my_sleep_aa56b952"}},
		}},
		"namespaces collide, too": {columns.Lowercase, []run{
			{[]string{"Ns/s", "ns/s", "other/s"}, []string{"s_7160940b", "s", "s"}},
		}},
		"a stream named as another's suffixed table": {columns.Lowercase, []run{
			{[]string{"A", "a"}, []string{"a_c00b4d3c", "a"}},
			{[]string{"a_c00b4d3c", "A"}, []string{"a_c00b4d3c_244ba32a", "a_c00b4d3c"}},
		}},
		"names that differ in case are one where they are preserved": {columns.Preserve, []run{
			{[]string{"sleep", "Sleep"}, []string{"sleep_bc632c48", "Sleep"}},
			{[]string{"Sleep", "sleep"}, []string{"Sleep", "sleep_bc632c48"}},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			cat := laketest.OpenCatalog(t, t.TempDir())
			for i, r := range tc.runs {
				plans := plansOf(t, tc.names, r.streams...)
				if err := tabledef.Resolve(t.Context(), cat, plans); err != nil {
					t.Fatal(err)
				}
				var tables []string
				for _, p := range plans {
					tables = append(tables, p.Table)
					tbl, err := lake.Open(t.Context(), cat, p, lake.Options{})
					if err != nil {
						t.Fatal(err)
					}
					if stream, known, err := tabledef.Owner(laketest.Load(t, tbl)); err != nil || !known || stream != p.Stream {
						t.Errorf("run %d: table %s is of %q (%t), %v", i, tbl, stream, known, err)
					}
				}
				if diff := cmp.Diff(r.tables, tables); diff != "" {
					t.Errorf("run %d (-want +got):\n%s", i, diff)
				}
			}
		})
	}
}

func TestTheTableOfAStreamIsTheSameWhenNamesAreSwitched(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	for i, names := range []columns.Names{columns.Preserve, columns.Lowercase, columns.Preserve} {
		plans := plansOf(t, names, "My Ns/Sleep-2", "my_ns/sleep_2", "new"+strconv.Itoa(i))
		if err := tabledef.Resolve(t.Context(), cat, plans); err != nil {
			t.Fatal(err)
		}
		var tables []string
		for _, p := range plans[:2] {
			tables = append(tables, p.Namespace+"."+p.Table)
		}
		for _, p := range plans {
			if _, err := lake.Open(t.Context(), cat, p, lake.Options{}); err != nil {
				t.Fatal(err)
			}
		}
		if diff := cmp.Diff([]string{"My_Ns.Sleep-2", "my_ns.sleep_2"}, tables); diff != "" {
			t.Errorf("%s: %s", names, diff)
		}
	}
	// Nor when the plain name was another stream's.
	for _, names := range []columns.Names{columns.Lowercase, columns.Preserve} {
		plans := plansOf(t, names, "A b", "a_b")
		if err := tabledef.Resolve(t.Context(), cat, plans); err != nil {
			t.Fatal(err)
		}
		if _, err := lake.Open(t.Context(), cat, plans[0], lake.Options{}); err != nil {
			t.Fatal(err)
		}
		if got := plans[0].Table; got != "a_b_75678307" {
			t.Errorf("%s: table %s", names, got)
		}
	}
}

// Two processes that both find a name free get one table; the slower one must
// not write into it.
func TestATableOfAnotherStreamIsNotOpened(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	plans := plansOf(t, columns.Lowercase, "My Sleep", "my_sleep")
	if _, err := lake.Open(t.Context(), cat, plans[0], lake.Options{}); err != nil {
		t.Fatal(err)
	}
	_, err := lake.Open(t.Context(), cat, plans[1], lake.Options{})
	var userError *protocol.Error
	if !errors.As(err, &userError) || userError.Kind != protocol.TransientError || !strings.Contains(userError.Message, "for stream My Sleep") {
		t.Errorf("error %v", err)
	}
}

func TestNoStreamLeavesTheWarehouseByItsName(t *testing.T) {
	odd := []string{
		"..", "../..", "../../etc/passwd", "/etc/passwd", "a/../../b", `..\..\b`, `C:\b`, "file:///b", "s3://b/c",
		"%2e%2e%2fb", "a?b#c", "a\x00b", ".", "", " ", "~", "$HOME", "\u202e..", "a.b.c", strings.Repeat("../", 100), strings.Repeat("x", 300),
	}
	for _, names := range []columns.Names{columns.Lowercase, columns.Preserve} {
		t.Run(string(names), func(t *testing.T) {
			outside := t.TempDir()
			warehouse := filepath.Join(outside, "a", "b", "lake")
			cat := laketest.OpenCatalog(t, warehouse)
			var plans []*columnar.Plan
			for _, name := range odd {
				for _, namespace := range []string{"", name} {
					p := plansOf(t, names, "x")[0]
					p.Stream = protocol.StreamID{Namespace: namespace, Name: name}
					p.Table = names.Legal(name)
					if namespace != "" {
						p.Namespace = names.Legal(namespace)
					}
					plans = append(plans, p)
				}
			}
			plans = slices.CompactFunc(plans, func(a, b *columnar.Plan) bool { return a.Stream == b.Stream })
			if err := tabledef.Resolve(t.Context(), cat, plans); err != nil {
				t.Fatal(err)
			}
			for _, p := range plans {
				tbl, err := lake.Open(t.Context(), cat, p, lake.Options{})
				if err != nil {
					t.Fatalf("stream %q: %v", p.Stream, err)
				}
				location := laketest.PathOf(t, laketest.Load(t, tbl).Location())
				if rel, err := filepath.Rel(warehouse, location); err != nil || !filepath.IsLocal(rel) || strings.Count(rel, string(filepath.Separator)) != 1 {
					t.Errorf("stream %q is kept in %s", p.Stream, location)
				}
			}
			err := filepath.WalkDir(outside, func(path string, d fs.DirEntry, err error) error {
				if err == nil && !d.IsDir() && !strings.HasPrefix(path, warehouse+string(filepath.Separator)) {
					t.Errorf("%s is outside the warehouse", path)
				}
				return err
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}
