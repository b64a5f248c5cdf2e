package lake

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
)

// evolve gives the table what columns the plan needs; package columns has the
// rules. A table that is nobody's becomes the stream's. Then the table is
// arranged as the options say.
func (t *Table) evolve(ctx context.Context, loaded *table.Table) (*table.Table, error) {
	retry := t.retry()
	for {
		if err := t.ours(loaded); err != nil {
			return nil, err
		}
		meta := loaded.Metadata()
		have := meta.CurrentSchema()
		_, owned := meta.Properties()[streamKey]
		evolved, err := columns.Evolve(t.plan.Keyed(), have, meta.LastColumnID(), meta.Properties(), owned)
		if err != nil {
			return nil, t.explainColumns(err)
		}
		t.columns = evolved
		t.keys = t.keyFields()
		var updates []table.Update
		if !sameColumns(have, evolved.Schema) {
			updates = append(updates, table.NewAddSchemaUpdate(evolved.Schema), table.NewSetCurrentSchemaUpdate(-1))
		}
		set, remove := evolved.Properties(meta.Properties())
		if set != nil {
			updates = append(updates, table.NewSetPropertiesUpdate(set))
		}
		if remove != nil {
			updates = append(updates, table.NewRemovePropertiesUpdate(remove))
		}
		if !owned {
			stream, err := ownerOf(t.plan.Stream)
			if err != nil {
				return nil, err
			}
			updates = append(updates, table.NewSetPropertiesUpdate(iceberg.Properties{streamKey: stream}))
		}
		reqs := []table.Requirement{
			table.AssertTableUUID(meta.TableUUID()),
			table.AssertCurrentSchemaID(have.ID),
			table.AssertLastAssignedFieldID(meta.LastColumnID()),
		}
		if len(updates) == 0 { // else in the next round, of the columns it then has
			var more []table.Requirement
			if more, updates, err = t.arrange(loaded); err != nil {
				return nil, err
			}
			reqs = append(reqs, more...)
		}
		if len(updates) == 0 {
			return loaded, nil
		}
		_, _, err = t.cat.CommitTable(ctx, t.id, reqs, updates)
		if err != nil && !errors.Is(err, table.ErrCommitFailed) {
			return nil, fmt.Errorf("changing the columns of table %s: %w", t, err)
		}
		if err != nil {
			switch more, waitErr := retry.again(ctx); {
			case waitErr != nil:
				return nil, waitErr
			case !more:
				return nil, fmt.Errorf("changing the columns of table %s: other programs have been changing it for %s: %w", t, t.persistence, err)
			}
		}
		// Another process may have changed the columns too: look again.
		if loaded, err = t.cat.LoadTable(ctx, t.id); err != nil {
			return nil, fmt.Errorf("loading table %s: %w", t, err)
		}
	}
}

// explainColumns says why the table cannot have the plan's columns.
func (t *Table) explainColumns(err error) error {
	var conflict *columns.Conflict
	if errors.As(err, &conflict) {
		return t.configError(nil, "Column %q of table %s %s", conflict.Column, t, conflict.Reason)
	}
	return fmt.Errorf("evolving the columns of table %s: %w", t, err)
}

// keyFields are the columns that decide which of two rows of a key stays: field
// ids, noField where there is none.
type keyFields struct {
	key             []int
	cursor, deleted int
}

const noField = -1

func (t *Table) keyFields() keyFields {
	ids := map[string]int{}
	for _, w := range t.plan.Wanted.Properties {
		ids[w.Name] = t.columns.IDs[w.ID]
	}
	k := keyFields{cursor: noField, deleted: noField}
	for _, property := range t.plan.Key {
		k.key = append(k.key, ids[property])
	}
	if t.plan.Cursor != "" {
		k.cursor = ids[t.plan.Cursor]
	}
	if t.plan.Deleted != "" {
		k.deleted = ids[t.plan.Deleted]
	}
	return k
}

// sameColumns compares all but the schemas' ids.
func sameColumns(a, b *iceberg.Schema) bool {
	identifiers := func(s *iceberg.Schema) []int { return slices.Sorted(slices.Values(s.IdentifierFieldIDs)) }
	return slices.Equal(identifiers(a), identifiers(b)) && slices.EqualFunc(a.Fields(), b.Fields(), func(a, b iceberg.NestedField) bool {
		return a.Equals(b)
	})
}
