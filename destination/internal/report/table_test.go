package report

import (
	"fmt"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/charts"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

func TestMain(m *testing.M) { laketest.Main(m) }

func TestCompareSchemas(t *testing.T) {
	column := func(id int, name, of string) flatColumn {
		return flatColumn{Column: Column{Name: name, Type: of}, id: id}
	}
	required := func(c flatColumn) flatColumn { c.Required = true; return c }
	a := column(1, "a", "int")
	for name, tc := range map[string]struct {
		before, after []flatColumn
		want          []string
	}{
		"the same":             {[]flatColumn{a}, []flatColumn{a}, nil},
		"added":                {[]flatColumn{a}, []flatColumn{a, column(2, "o.b", "string")}, []string{"o.b (string) was added"}},
		"removed":              {[]flatColumn{a}, nil, []string{"a was removed"}},
		"widened and optional": {[]flatColumn{required(a)}, []flatColumn{column(1, "a", "long")}, []string{"a became long, from int", "a became optional"}},
		"required":             {[]flatColumn{a}, []flatColumn{required(a)}, []string{"a became required"}},
		"names swapped":        {[]flatColumn{a, column(2, "b", "int")}, []flatColumn{column(2, "a", "int"), column(1, "b", "int")}, []string{"b was renamed to a", "a was renamed to b"}},
		"replaced":             {[]flatColumn{a}, []flatColumn{column(2, "a", "int")}, []string{"a (int) was added", "a was removed"}},
		"another description":  {[]flatColumn{a}, []flatColumn{{Column: Column{Name: "a", Type: "int", Doc: "d"}, id: 1}}, []string{"a has another description"}},
	} {
		t.Run(name, func(t *testing.T) {
			if got := compare(tc.before, tc.after); !slices.Equal(got, tc.want) {
				t.Errorf("%q, want %q", got, tc.want)
			}
		})
	}
}

func TestSizeClasses(t *testing.T) {
	for name, tc := range map[string]struct {
		sizes []int64
		want  []string
	}{
		"none":     {nil, nil},
		"one":      {[]int64{5}, []string{"below 64 KiB: 1, 5 B, 100%"}},
		"limits":   {[]int64{64<<10 - 1, 64 << 10}, []string{"below 64 KiB: 1, 65535 B, 100%", "64 KiB to 512 KiB: 1, 65536 B, 100%"}},
		"a gap":    {[]int64{1 << 20, 1 << 20, 100 << 20}, []string{"512 KiB to 4 MiB: 2, 2097152 B, 100%", "4 MiB to 32 MiB: 0, 0 B, 0%", "32 MiB to 256 MiB: 1, 104857600 B, 50%"}},
		"the last": {[]int64{1 << 40}, []string{"256 MiB and more: 1, 1099511627776 B, 100%"}},
	} {
		t.Run(name, func(t *testing.T) {
			all := newSizeClasses()
			for _, size := range tc.sizes {
				all.add(size)
			}
			var got []string
			for _, c := range all.shown() {
				got = append(got, fmt.Sprintf("%s: %d, %d B, %.0f%%", c.label(), c.Files, c.Bytes, c.Percent))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What a page says of commits is what was committed.
func TestDescribe(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	tbl := laketest.OpenTable(t, cat, laketest.Keyed("s"), lake.Options{Upsert: lake.MergeOnRead})
	row := func(key int64, v string) map[string]any {
		return laketest.Version{Key: key, Cursor: int64(len(v)), V: v}.Row()
	}
	state := func(n int) string { return fmt.Sprintf(`{"number":%d,"state":{"n":%d}}`, n, n) }
	laketest.Commit(t, tbl, state(1), laketest.Stage(t, tbl, 0, row(1, "a"), row(2, "a"), row(3, "a")))
	laketest.Commit(t, tbl, state(2), laketest.Stage(t, tbl, 0, row(2, "bb")))
	got, err := Describe(t.Context(), laketest.Load(t, tbl))
	if err != nil {
		t.Fatal(err)
	}
	if got.Info.Rows != 3 || got.DeletedRows != 1 || got.DataFiles != 2 || got.deleteFiles() != 1 || got.Snapshots != (Snapshots{Listed: 2, All: 2}) {
		t.Errorf("%+v", got)
	}
	var commits []string
	for _, c := range got.Commits {
		commits = append(commits, fmt.Sprintf("%s +%d -%d = %d in %d", c.Operation, c.Added, c.Removed, c.Rows, c.Files))
	}
	if diff := cmp.Diff([]string{"overwrite +1 -1 = 3 in 3", "append +3 -0 = 3 in 1"}, commits); diff != "" {
		t.Error(diff)
	}
	if got.State == nil || got.State.Text != "{\n  \"n\": 2\n}" {
		t.Errorf("state %+v", got.State)
	}
	if got.Changes == nil || !got.Changes.All || got.Changes.Read != 3 || got.Changes.Kinds != nil {
		t.Errorf("changes %+v", got.Changes)
	}
}

// The charts of a table show its commits in order, some of them if there are many.
func TestHistories(t *testing.T) {
	commits := func(n int) (all []Commit) {
		for i := range n {
			age := int64(n - i)
			all = append(all, Commit{At: fromMillis(1000*age + 500), Totals: Totals{Known: true, Rows: 10 * age, Bytes: 100 * age}})
		}
		return all
	}
	if got := histories(commits(2)); got != nil {
		t.Errorf("two commits give %+v", got)
	}
	got := histories(append(commits(3), Commit{At: fromMillis(0)}))
	if diff := cmp.Diff([]charts.Chart{
		{Title: "Rows", Kind: "step", Times: []float64{1.5, 2.5, 3.5}, Lines: []charts.Series{{Label: "rows", Values: charts.Values{10, 20, 30}}}, Notes: []string{"After each of 3 commits."}},
		{Title: "Size of the files", Kind: "step", Unit: "B", Times: []float64{1.5, 2.5, 3.5}, Lines: []charts.Series{{Label: "size", Values: charts.Values{100, 200, 300}}}, Notes: []string{"After each of 3 commits."}},
	}, got); diff != "" {
		t.Error(diff)
	}
	many := histories(commits(2*shownPoints + 1))[0]
	if n := len(many.Times); n > shownPoints || many.Times[n-1] != 2*shownPoints+1.5 || many.Notes[0] != "After one of every 3 of 401 commits." {
		t.Errorf("%d points, the last at %v: %s", n, many.Times[n-1], many.Notes)
	}
}
