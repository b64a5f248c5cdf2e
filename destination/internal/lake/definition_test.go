package lake_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// wilful is a catalog whose server makes others of the first updates that it is asked for.
type wilful struct {
	lake.Catalog
	makes        func([]table.Update) []table.Update
	first, asked int
}

func (w *wilful) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if w.asked++; w.asked <= w.first {
		updates = w.makes(updates)
	}
	return w.Catalog.CommitTable(ctx, id, reqs, updates)
}

// A server that does not keep what a table is changed to is not asked for ever.
func TestACatalogThatDoesNotKeepADefinition(t *testing.T) {
	after := func(more table.Update) func([]table.Update) []table.Update {
		return func(updates []table.Update) []table.Update { return append(updates, more) }
	}
	drops := after(table.NewRemovePropertiesUpdate([]string{"comment"}))
	for name, tc := range map[string]struct {
		settings tabledef.Settings
		makes    func([]table.Update) []table.Update
		first    int
		says     string // "": the table becomes what it is defined to be
	}{
		"drops a property":         {tabledef.Settings{Properties: map[string]string{"comment": "x"}}, drops, 99, "properties comment."},
		"normalises a property":    {tabledef.Settings{Properties: map[string]string{"comment": "x", "kept": "y"}}, after(table.NewSetPropertiesUpdate(iceberg.Properties{"comment": "X"})), 99, "properties comment."},
		"drops one and keeps more": {tabledef.Settings{Properties: map[string]string{"comment": "x", "kept": "y"}, SortBy: sortedBy(t, "v")}, drops, 99, "properties comment."},
		"does not sort": {tabledef.Settings{SortBy: sortedBy(t, "v")}, func(updates []table.Update) []table.Update {
			return slices.DeleteFunc(updates, func(u table.Update) bool { return strings.HasSuffix(u.Action(), "sort-order") })
		}, 99, "add-sort-order, set-default-sort-order."},
		"drops a property for a while": {tabledef.Settings{Properties: map[string]string{"comment": "x"}}, drops, 4, ""},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			cat := &wilful{Catalog: laketest.OpenCatalog(t, t.TempDir()), makes: tc.makes, first: tc.first}
			openTable(t, cat.Catalog, laketest.Plain("s"), lake.Options{})
			tbl, err := lake.OpenUnbound(t.Context(), cat, laketest.Plain("s"), lake.Options{Settings: tc.settings})
			if cat.asked != 5 {
				t.Errorf("it was asked %d times", cat.asked)
			}
			if tc.says == "" {
				if err != nil || laketest.Load(t, tbl).Properties()["comment"] != "x" {
					t.Errorf("error %v", err)
				}
				return
			}
			var e *protocol.Error
			if !errors.As(err, &e) || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, "Table ns.s ") || !strings.Contains(e.Message, tc.says) {
				t.Errorf("error %v", err)
			}
		})
	}
}
