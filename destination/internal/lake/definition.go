package lake

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// create makes a table, or loads it if another process was first. It has no mapping
// of properties to columns yet, because catalogs choose the ids of the columns.
func create(ctx context.Context, t *Table) (*table.Table, error) {
	if err := t.cat.CreateNamespace(ctx, t.id[:len(t.id)-1], nil); err != nil && !errors.Is(err, catalog.ErrNamespaceAlreadyExists) {
		// Two processes may pass the library's check at once, and one then
		// fails on the database's own.
		if there, checkErr := t.cat.CheckNamespaceExists(ctx, t.id[:len(t.id)-1]); checkErr != nil || !there {
			return nil, fmt.Errorf("making namespace: %w", err)
		}
	}
	def, err := tabledef.Create(t.plan, t.opts.Settings)
	if err != nil {
		return nil, err
	}
	props := iceberg.Properties{
		table.PropertyFormatVersion:       strconv.Itoa(t.opts.FormatVersion),
		table.WriteTargetFileSizeBytesKey: strconv.FormatInt(t.storage.TargetFileBytes, 10),
		table.ParquetCompressionKey:       "zstd",
		// Metadata files must not pile up: one is written by every commit.
		table.MetadataDeleteAfterCommitEnabledKey: "true",
		table.MetadataPreviousVersionsMaxKey:      "20",
		OrphansKey:                                time.Now().UTC().Format(time.RFC3339), // a new table has none
	}
	maps.Copy(props, def.Properties)
	created, err := t.cat.CreateTable(ctx, t.id, def.Schema,
		catalog.WithPartitionSpec(&def.Spec), catalog.WithSortOrder(def.Order), catalog.WithProperties(props))
	if errors.Is(err, catalog.ErrTableAlreadyExists) {
		return t.cat.LoadTable(ctx, t.id)
	}
	return created, err
}

// evolutions is how often a table is changed to become what it is defined to be. Two do.
const evolutions = 5

// evolve brings a table to its definition: its columns, then its partition spec,
// sort order and properties. A table that is nobody's becomes the stream's.
func evolve(ctx context.Context, t *Table, loaded *table.Table) (*table.Table, error) {
	for done := 0; ; done++ {
		x := &transaction{t: t, base: loaded, propose: func(_ context.Context, base *table.Table, _ *retryBudget) (proposal, error) {
			def, change, err := tabledef.Evolve(t.plan, t.opts.Settings, base)
			if err == nil {
				t.columns, t.keys = def.Columns, keyFieldsOf(def)
			}
			if done == evolutions && len(change.Updates) > 0 {
				return proposal{}, t.errorf(protocol.ConfigError, nil,
					"Table %s was changed %d times and still is not as it has to be: the catalog drops or changes %s. Have the catalog keep that, or configure the stream's table as the catalog has it.", t, done, change)
			}
			return proposal{requirements: change.Requirements, updates: change.Updates}, err
		}}
		if err := x.run(ctx); err != nil {
			return nil, err
		}
		if x.after == nil {
			return x.base, nil
		}
		loaded = nil // what it is now
	}
}

// keyFieldsOf are the columns that decide which of two rows of a key stays.
func keyFieldsOf(d tabledef.Definition) rowkeys.Fields {
	ids := map[string]int{}
	for _, w := range d.Plan.Wanted.Properties {
		ids[w.Name] = d.Columns.IDs[w.ID]
	}
	k := rowkeys.Fields{Cursor: rowkeys.NoField, Deleted: rowkeys.NoField}
	for _, property := range d.Plan.Key {
		k.Key = append(k.Key, ids[property])
	}
	if d.Plan.Cursor != "" {
		k.Cursor = ids[d.Plan.Cursor]
	}
	if d.Plan.Deleted != "" {
		k.Deleted = ids[d.Plan.Deleted]
	}
	return k
}
