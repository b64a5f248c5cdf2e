package snapshots

import (
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

func TestTotalsFollowThoseOfTheParent(t *testing.T) {
	const unknown = -1
	with := func(props iceberg.Properties) *table.Snapshot {
		return &table.Snapshot{SnapshotID: 1, Summary: &table.Summary{Operation: table.OpAppend, Properties: props}}
	}
	for name, tc := range map[string]struct {
		parent           *table.Snapshot
		records, deletes int64
	}{
		"no parent":                      {nil, 3, 0},
		"a parent with totals":           {with(iceberg.Properties{"total-records": "7", "total-position-deletes": "2"}), 10, 2},
		"a parent that leaves zeros out": {with(iceberg.Properties{"total-records": "7"}), 10, 0},
		"a parent whose writer has none": {with(iceberg.Properties{"added-records": "7"}), unknown, unknown},
		"a parent that has no summary":   {&table.Snapshot{SnapshotID: 1}, unknown, unknown},
		"a parent with an empty summary": {with(nil), unknown, unknown},
	} {
		var s summary
		s.added.records, s.added.dataFiles = 3, 1
		props := s.after(tc.parent, table.OpAppend, iceberg.Properties{}).Properties
		if got := props.GetInt64("total-records", unknown); got != tc.records {
			t.Errorf("%s: %d records in all, want %d", name, got, tc.records)
		}
		if got := props.GetInt64("total-position-deletes", unknown); got != tc.deletes {
			t.Errorf("%s: %d deletes in all, want %d", name, got, tc.deletes)
		}
		if got := props.GetInt64("added-records", unknown); got != 3 {
			t.Errorf("%s: %d records were added, want 3", name, got)
		}
	}
}
