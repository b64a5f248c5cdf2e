package lake_test

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowsort"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

func by(t testing.TB, fields ...string) []tabledef.PartitionBy {
	t.Helper()
	all := []tabledef.PartitionBy{}
	for _, f := range fields {
		p, err := tabledef.ParsePartitionBy(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

func sortedBy(t testing.TB, fields ...string) []tabledef.SortBy {
	t.Helper()
	all := []tabledef.SortBy{}
	for _, f := range fields {
		s, err := tabledef.ParseSortBy(f)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, s)
	}
	return all
}

// checkPartitions looks at every data file of a table: all of its rows are of
// the partition that its manifest entry says, in the order that it says, a
// manifest's summary takes in its partitions, and a delete file is of its data
// file's partition. It returns how many files there are of each spec.
func checkPartitions(t testing.TB, tbl *lake.Table) map[int32]int {
	t.Helper()
	loaded := laketest.Load(t, tbl)
	meta := loaded.Metadata()
	checkNamesOfPartitions(t, meta)
	found := map[int32]int{}
	if loaded.CurrentSnapshot() == nil {
		return found
	}
	manifests, err := loaded.CurrentSnapshot().Manifests(tbl.Storage().Files)
	if err != nil {
		t.Fatal(err)
	}
	partitionsOf := map[string]string{}
	var deletes []iceberg.DataFile
	for _, m := range manifests {
		spec := meta.PartitionSpecByID(int(m.PartitionSpecID()))
		for entry, err := range m.Entries(tbl.Storage().Files, true) {
			if err != nil {
				t.Fatal(err)
			}
			f := entry.DataFile()
			if f.SpecID() != m.PartitionSpecID() {
				t.Errorf("%s of spec %d is in a manifest of spec %d", f.FilePath(), f.SpecID(), m.PartitionSpecID())
			}
			checkSummary(t, m, *spec, meta.CurrentSchema(), f)
			if f.ContentType() != iceberg.EntryContentData {
				deletes = append(deletes, f)
				continue
			}
			found[f.SpecID()]++
			partitionsOf[f.FilePath()] = snapshots.PartitionOf(f)
			checkRows(t, tbl, meta, *spec, f)
		}
	}
	for _, d := range deletes {
		target, _ := laketest.TargetOf(d)
		if got, want := snapshots.PartitionOf(d), partitionsOf[target]; got != want {
			t.Errorf("%s is of partition %s, its data file of %s", d.FilePath(), got, want)
		}
	}
	return found
}

// checkNamesOfPartitions finds what Iceberg's Java library refuses: a partition field, be it of a former
// spec, that has the name of a column which it is not of, or of another field.
func checkNamesOfPartitions(t testing.TB, meta table.Metadata) {
	t.Helper()
	ids := map[string]int{}
	for _, spec := range meta.PartitionSpecs() {
		for _, f := range spec.Fields() {
			if c, there := meta.CurrentSchema().FindFieldByName(f.Name); there && c.ID != f.SourceID() {
				t.Errorf("column %d and the partition field %s have one name", c.ID, &f)
			}
			if id, there := ids[f.Name]; there && id != f.FieldID {
				t.Errorf("the partition fields %d and %s have one name", id, &f)
			}
			ids[f.Name] = f.FieldID
		}
	}
}

func checkRows(t testing.TB, tbl *lake.Table, meta table.Metadata, spec iceberg.PartitionSpec, f iceberg.DataFile) {
	t.Helper()
	order := table.UnsortedSortOrder
	if id := f.SortOrderID(); id != nil {
		order = meta.SortOrders()[slices.IndexFunc(meta.SortOrders(), func(o table.SortOrder) bool { return o.OrderID() == *id })]
	}
	in, err := parquetfile.Open(tbl.Storage().Files, f, nil, tbl.Storage().Memory)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	var recs []arrow.RecordBatch
	for p, err := range in.Pieces(t.Context(), in.AllColumns()) {
		if err != nil {
			t.Fatal(err)
		}
		rec, err := in.Batch(t.Context(), p, in.AllColumns())
		if err != nil {
			t.Fatal(err)
		}
		recs = append(recs, rec)
	}
	if len(recs) == 0 {
		return
	}
	rec, err := rowsort.Join(recs)
	if err != nil {
		t.Fatal(err)
	}
	o := rowsort.NewOrder(spec, order, rec.Schema())
	// Rows in order stay where they are when they are sorted.
	partitions, next := 0, int64(0)
	err = rowsort.NewSorter(tbl.Storage().Scratch(), tbl.Storage().Memory, o, rec.Schema(), false).Finish(t.Context(), rec, nil, math.MaxInt64,
		func(sorted arrow.RecordBatch, _ []uint64) error {
			if !array.RecordEqual(sorted, rec.NewSlice(next, next+sorted.NumRows())) {
				t.Errorf("%s: rows from %d on are out of place", f.FilePath(), next)
			}
			next += sorted.NumRows()
			return nil
		},
		func() error { partitions++; return nil })
	if err != nil {
		t.Fatal(err)
	}
	if partitions > 1 {
		t.Errorf("%s: rows of %d partitions", f.FilePath(), partitions)
	}
	want, err := o.Partition(rec, 0)
	if err != nil {
		t.Fatal(err)
	}
	got := f.Partition()
	for _, field := range spec.Fields() {
		w, g := want[field.FieldID], got[field.FieldID]
		if d, ok := g.(iceberg.DecimalLiteral); ok {
			g = d.Value()
		}
		if !reflect.DeepEqual(w, g) {
			t.Errorf("%s: partition field %s is %v (%T), its rows have %v (%T)", f.FilePath(), field.Name, g, g, w, w)
		}
	}
}

func checkSummary(t testing.TB, m iceberg.ManifestFile, spec iceberg.PartitionSpec, schema *iceberg.Schema, f iceberg.DataFile) {
	t.Helper()
	types := spec.PartitionType(schema)
	if len(m.Partitions()) != len(types.FieldList) {
		t.Errorf("manifest %s sums up %d fields of %d", m.FilePath(), len(m.Partitions()), len(types.FieldList))
		return
	}
	for i, field := range types.FieldList {
		s := m.Partitions()[i]
		value := f.Partition()[field.ID]
		if value == nil {
			if !s.ContainsNull {
				t.Errorf("manifest %s does not say that %s is null somewhere", m.FilePath(), field.Name)
			}
			continue
		}
		bound := func(b *[]byte) iceberg.Literal {
			if b == nil {
				t.Fatalf("manifest %s has no bounds for %s", m.FilePath(), field.Name)
			}
			lit, err := iceberg.LiteralFromBytes(field.Type, *b)
			if err != nil {
				t.Fatal(err)
			}
			return lit
		}
		lit, ok := value.(iceberg.Literal)
		if !ok {
			lit = literal(t, value)
		}
		if compareLiterals(t, lit, bound(s.LowerBound)) < 0 || compareLiterals(t, lit, bound(s.UpperBound)) > 0 {
			t.Errorf("manifest %s does not take in %v of %s", m.FilePath(), value, field.Name)
		}
	}
}

// compareLiterals orders two values of one type as Iceberg does.
func compareLiterals(t testing.TB, a, b iceberg.Literal) int {
	t.Helper()
	switch a := a.(type) {
	case iceberg.TypedLiteral[bool]:
		return compareTyped(a, b)
	case iceberg.TypedLiteral[int32]:
		return compareTyped(a, b)
	case iceberg.TypedLiteral[int64]:
		return compareTyped(a, b)
	case iceberg.TypedLiteral[float64]:
		return compareTyped(a, b)
	case iceberg.TypedLiteral[string]:
		return compareTyped(a, b)
	case iceberg.TypedLiteral[iceberg.Date]:
		return compareTyped(a, b)
	case iceberg.TypedLiteral[iceberg.Timestamp]:
		return compareTyped(a, b)
	case iceberg.TypedLiteral[iceberg.Decimal]:
		return compareTyped(a, b)
	}
	t.Fatalf("a value of type %T", a)
	return 0
}

func compareTyped[T iceberg.LiteralType](a iceberg.TypedLiteral[T], b iceberg.Literal) int {
	return a.Comparator()(a.Value(), b.(iceberg.TypedLiteral[T]).Value())
}

func literal(t testing.TB, v any) iceberg.Literal {
	switch v := v.(type) {
	case bool:
		return iceberg.BoolLiteral(v)
	case int32:
		return iceberg.Int32Literal(v)
	case int64:
		return iceberg.Int64Literal(v)
	case float64:
		return iceberg.Float64Literal(v)
	case string:
		return iceberg.StringLiteral(v)
	case iceberg.Date:
		return iceberg.DateLiteral(v)
	case iceberg.Timestamp:
		return iceberg.TimestampLiteral(v)
	case iceberg.Decimal:
		return iceberg.DecimalLiteral(v)
	}
	t.Fatalf("a partition value of type %T", v)
	return nil
}

// Whatever a table's partitions and order are, and however they change between
// commits, its rows are what the model says, each in the place its file claims.
func TestPartitionsAndOrderChangeNoRow(t *testing.T) {
	fields := []string{
		"id", "bucket(3, id)", "truncate(10, id)", "v", "truncate(2, v)", "bucket(2, v)", "updated_at", "year(updated_at)", "month(updated_at)",
		"day(updated_at)", "hour(updated_at)", "bucket(2, updated_at)", "_ab_cdc_deleted_at", "bucket(2, _airbyte_raw_id)",
	}
	texts := []string{"", "a", "a=b/c", "\u00e9\u4e2d\U0001f496", "null", " ", strings.Repeat("long", 100)}
	const month = 31 * 24 * 60 * 60
	for _, tc := range []struct {
		mode   lake.Upsert
		format int
	}{{lake.CopyOnWrite, 1}, {lake.MergeOnRead, 3}, {lake.Auto, 2}, {lake.CopyOnWrite, 2}, {lake.MergeOnRead, 2}}[:testsize.Of(3, 5)] {
		t.Run(fmt.Sprint(tc.mode, " v", tc.format), func(t *testing.T) {
			t.Parallel()
			rng := rand.New(rand.NewPCG(uint64(tc.format), uint64(len(tc.mode))))
			cat := laketest.OpenCatalog(t, t.TempDir())
			want := laketest.Model{}
			order := uint64(0)
			specs := map[int32]int{}
			for round := range testsize.Of(4, 12) {
				o := lake.Options{Upsert: tc.mode, FormatVersion: tc.format}
				if rng.IntN(3) > 0 && (tc.format > 1 || round == 0) {
					o.PartitionBy = []tabledef.PartitionBy{}
					for _, i := range rng.Perm(len(fields))[:rng.IntN(3)] {
						o.PartitionBy = append(o.PartitionBy, by(t, fields[i])...)
					}
					if o.Check(laketest.Keyed("s")) != nil { // of one column twice
						o.PartitionBy = o.PartitionBy[:1]
					}
				}
				if rng.IntN(3) > 0 {
					o.SortBy = sortedBy(t, [][]string{{}, {"v"}, {"updated_at desc", "id"}, {"_ab_cdc_deleted_at", "v desc"}}[rng.IntN(4)]...)
				}
				tbl := openTable(t, cat, laketest.Keyed("s"), o)
				var versions []laketest.Version
				var staged []*lake.Staged
				for range 2 {
					w := tbl.NewWriter()
					var written []laketest.Version
					for range rng.IntN(testsize.Of(12, 20)) {
						var rows []map[string]any
						var orders []uint64
						for range 1 + rng.IntN(6) {
							v := laketest.Version{
								Key: rng.Int64N(40), Cursor: rng.Int64N(5)*month - 1, Order: order,
								V: texts[rng.IntN(len(texts))], Deleted: rng.IntN(6) == 0,
							}
							order++
							written = append(written, v)
							rows, orders = append(rows, v.Row()), append(orders, v.Order)
						}
						if err := w.Write(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), rows...), orders); err != nil {
							t.Fatal(err)
						}
					}
					last := laketest.Version{Key: 100, Cursor: int64(round), V: "last", Order: order}
					order++
					written = append(written, last)
					keep := len(written)
					if rng.IntN(2) == 0 {
						keep = rng.IntN(len(written) + 1)
					}
					s, err := w.Close(t.Context(), laketest.Batch(t, tbl.Opened().Schema(), last.Row()), []uint64{last.Order}, int64(keep))
					if err != nil {
						t.Fatal(err)
					}
					if s != nil && s.Rows() != int64(keep) || s == nil && keep > 0 {
						t.Fatalf("%v rows are staged, %d are to be kept", s, keep)
					}
					staged, versions = append(staged, s), append(versions, written[:keep]...)
				}
				laketest.Commit(t, tbl, fmt.Sprintf(`{"round":%d}`, round), staged...)
				want.Commit(versions)
				laketest.ExpectRows(t, tbl, want.Rows()...)
				for id, n := range checkPartitions(t, tbl) {
					specs[id] += n
				}
				if round%4 == 3 {
					laketest.Maintain(t, laketest.Impatient(t, tbl), laketest.Everything)
					laketest.ExpectRows(t, tbl, want.Rows()...)
					checkPartitions(t, tbl)
					laketest.ExpectFiles(t, tbl, false)
				}
				if t.Failed() {
					t.Fatalf("round %d, partitioned by %v, sorted by %v", round, o.PartitionBy, o.SortBy)
				}
			}
			if len(specs) < testsize.Of(2, 4) && tc.format > 1 {
				t.Errorf("files were written by %d specs", len(specs))
			}
		})
	}
}
