package maintenance

import (
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"
)

func TestSnapshotsThatStay(t *testing.T) {
	hour := time.Hour
	for name, tc := range map[string]struct {
		ages  []time.Duration // oldest first
		u     Options
		refs  map[string]int     // names of snapshots, by position
		props iceberg.Properties // of the table
		want  []int              // positions of those that go
	}{
		"old ones go": {ages: []time.Duration{9 * hour, 8 * hour, 7 * hour, 2 * hour}, u: Options{ExpireAfter: 8 * hour, KeepSnapshots: 1}, want: []int{0}},
		"an old one that was current a moment ago": {ages: []time.Duration{99 * hour, hour / 2}, u: Options{ExpireAfter: hour, KeepSnapshots: 1}},
		"some are kept however old":                {ages: []time.Duration{9 * hour, 9 * hour, 9 * hour}, u: Options{ExpireAfter: hour, KeepSnapshots: 2}, want: []int{0}},
		"the current one always":                   {ages: []time.Duration{9 * hour}, u: Options{ExpireAfter: hour}},
		"one that a tag names":                     {ages: []time.Duration{9 * hour, 9 * hour, 9 * hour}, u: Options{ExpireAfter: hour, KeepSnapshots: 1}, refs: map[string]int{"tag": 0}, want: []int{1}},
		"none a reader may be at":                  {ages: []time.Duration{hour / 2, hour / 3, 0}, u: Options{KeepSnapshots: 1}},
		"the oldest of too many too":               {ages: times(maxSnapshots+2, 2*hour), u: Options{ExpireAfter: 100 * hour, KeepSnapshots: 10}, want: []int{0, 1}},
		"not as many as the table keeps":           {ages: []time.Duration{5 * hour, 4 * hour, 3 * hour, 0}, u: Options{KeepSnapshots: 1}, props: iceberg.Properties{table.MinSnapshotsToKeepKey: "3"}, want: []int{0}},
		"none as old as the table keeps":           {ages: []time.Duration{5 * hour, 4 * hour, 3 * hour, 0}, u: Options{KeepSnapshots: 1}, props: iceberg.Properties{table.MaxSnapshotAgeMsKey: "14000000"}, want: []int{0}},
		"none that the table keeps for ever":       {ages: []time.Duration{5 * hour, 4 * hour, 0}, u: Options{KeepSnapshots: 1}, props: iceberg.Properties{table.MaxSnapshotAgeMsKey: "9223372036854775807"}},
		"not if they are to be kept":               {ages: times(maxSnapshots+2, 2*hour), u: Options{ExpireAfter: 100 * hour, KeepSnapshots: 500}},
	} {
		t.Run(name, func(t *testing.T) {
			now := time.Now()
			b, err := table.NewMetadataBuilder(2)
			for _, do := range []func() error{
				func() error { return err },
				func() error { return b.SetLoc("file:///t") },
				func() error {
					return b.AddSchema(iceberg.NewSchema(0, iceberg.NestedField{ID: 1, Name: "v", Type: iceberg.PrimitiveTypes.String}))
				},
				func() error { return b.SetCurrentSchemaID(-1) },
				func() error { return b.AddPartitionSpec(iceberg.UnpartitionedSpec, true) },
				func() error { return b.SetDefaultSpecID(-1) },
				func() error { return b.AddSortOrder(&table.UnsortedSortOrder) },
				func() error { return b.SetDefaultSortOrderID(-1) },
			} {
				if err := do(); err != nil {
					t.Fatal(err)
				}
			}
			for i, age := range tc.ages {
				s := &table.Snapshot{SnapshotID: int64(i + 1), SequenceNumber: int64(i + 1), TimestampMs: now.Add(-age).UnixMilli(), Summary: &table.Summary{Operation: table.OpAppend}, ManifestList: "x"}
				if i > 0 {
					parent := int64(i)
					s.ParentSnapshotID = &parent
				}
				if err := b.AddSnapshot(s); err != nil {
					t.Fatal(err)
				}
			}
			if err := b.SetSnapshotRef(table.MainBranch, int64(len(tc.ages)), table.BranchRef); err != nil {
				t.Fatal(err)
			}
			if err := b.SetProperties(tc.props); err != nil {
				t.Fatal(err)
			}
			for name, i := range tc.refs {
				if err := b.SetSnapshotRef(name, int64(i+1), table.TagRef); err != nil {
					t.Fatal(err)
				}
			}
			meta, err := b.Build()
			if err != nil {
				t.Fatal(err)
			}
			got := map[int64]bool{}
			for _, id := range expired(meta, tc.u, time.Hour) {
				got[id-1] = true
			}
			want := map[int64]bool{}
			for _, i := range tc.want {
				want[int64(i)] = true
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("gone (-want +got):\n%s", diff)
			}
		})
	}
}

func times(n int, d time.Duration) []time.Duration {
	all := make([]time.Duration, n)
	for i := range all {
		all[i] = d
	}
	return all
}
