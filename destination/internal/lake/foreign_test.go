package lake

import (
	"errors"
	"iter"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/apache/iceberg-go/table/dv"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// twoFiles is a table of two data files: keys 1 to 3 and 4 to 6.
func twoFiles(t *testing.T, o Options) (*Table, []*snapshots.LiveFile) {
	t.Helper()
	tbl := openTable(t, openCatalog(t, t.TempDir()), keyed("s"), o)
	for _, first := range []int64{1, 4} {
		var all []map[string]any
		for key := first; key < first+3; key++ {
			all = append(all, version{key: key, cursor: 1, v: "old"}.row())
		}
		commit(t, tbl, "", stage(t, tbl, 0, all...))
	}
	set, err := tbl.storage().List(tbl.tip(load(t, tbl)), snapshots.Cache{})
	if err != nil {
		t.Fatal(err)
	}
	if set.Files[0].Sequence > set.Files[1].Sequence {
		set.Files[0], set.Files[1] = set.Files[1], set.Files[0]
	}
	return tbl, set.Files
}

// addDeletes commits delete files as another program would.
func addDeletes(t *testing.T, tbl *Table, deletes ...iceberg.DataFile) {
	t.Helper()
	tx := load(t, tbl).NewTransaction()
	if err := tx.NewRowDelta(nil).AddDeletes(deletes...).Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := tx.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
}

// Rows that another program deleted stay deleted, in whatever way the file
// they are in is touched.
func TestDeletesOfOtherProgramsStayInForce(t *testing.T) {
	old := func(key int64) string { return version{key: key, cursor: 1, v: "old"}.json() }
	made := func(key int64) version { return version{key: key, cursor: 2, v: "new"} }
	for name, tc := range map[string]struct {
		options Options
		deletes func(t *testing.T, tbl *Table, files []*snapshots.LiveFile) []iceberg.DataFile // of keys 1 and 4
	}{
		"position deletes of two files in one": {Options{Upsert: MergeOnRead}, sharedDeletes},
		"the same, copied":                     {Options{Upsert: CopyOnWrite}, sharedDeletes},
		"deletion vectors of two files in one": {Options{Upsert: MergeOnRead, FormatVersion: 3}, sharedVectors},
		"the same vectors, copied":             {Options{Upsert: CopyOnWrite, FormatVersion: 3}, sharedVectors},
	} {
		t.Run(name, func(t *testing.T) {
			tbl, files := twoFiles(t, tc.options)
			addDeletes(t, tbl, tc.deletes(t, tbl, files)...)
			want := func(rows ...string) {
				t.Helper()
				got := rowsOf(t, tbl)
				if strings.Join(got, "\n") != strings.Join(rows, "\n") {
					t.Errorf("rows\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(rows, "\n"))
				}
			}
			want(old(2), old(3), old(5), old(6))
			commit(t, tbl, "", stage(t, tbl, 0, made(2).row()))
			want(made(2).json(), old(3), old(5), old(6))
			// A deleted row beats nothing: this one is back.
			commit(t, tbl, "", stage(t, tbl, 0, version{key: 4, cursor: 0, v: "new"}.row()))
			want(made(2).json(), old(3), version{key: 4, cursor: 0, v: "new"}.json(), old(5), old(6))
			if _, err := tbl.Replace(t.Context(), []*Staged{stage(t, tbl, 0, made(9).row())}, nil); err != nil {
				t.Fatal(err)
			}
			want(made(9).json())
			checkFiles(t, load(t, tbl))
		})
	}
}

func rowsOf(t *testing.T, tbl *Table) []string {
	t.Helper()
	got := rows(t, load(t, tbl))
	slices.Sort(got)
	return got
}

func sharedDeletes(t *testing.T, tbl *Table, files []*snapshots.LiveFile) []iceberg.DataFile {
	t.Helper()
	b := array.NewRecordBuilder(memory.DefaultAllocator, table.PositionalDeleteArrowSchema)
	for _, f := range files {
		b.Field(0).(*array.StringBuilder).Append(f.Data.FilePath())
		b.Field(1).(*array.Int64Builder).Append(0)
	}
	file, err := parquetfile.Create(tbl.files, tbl.newPath(".parquet"), table.PositionalDeleteArrowSchema, parquetfile.PositionDeleteEncoding())
	if err != nil {
		t.Fatal(err)
	}
	if err := file.Write(b.NewRecordBatch()); err != nil {
		t.Fatal(err)
	}
	data, err := file.Close(table.DataFileArgs{
		Schema: iceberg.PositionalDeleteSchema, Spec: tbl.spec, FormatVersion: 2, Content: iceberg.EntryContentPosDeletes,
	})
	if err != nil {
		t.Fatal(err)
	}
	return []iceberg.DataFile{data}
}

func sharedVectors(t *testing.T, tbl *Table, files []*snapshots.LiveFile) []iceberg.DataFile {
	t.Helper()
	w := dv.NewDVWriter(tbl.files, func(int32) *iceberg.PartitionSpec { return &tbl.spec })
	for _, f := range files {
		if err := w.Add(f.Data.FilePath(), []int64{0}, 0, nil); err != nil {
			t.Fatal(err)
		}
	}
	deletes, err := w.Flush(t.Context(), tbl.locations.NewDataLocation("theirs.puffin"))
	if err != nil {
		t.Fatal(err)
	}
	if len(deletes) != 2 || deletes[0].FilePath() != deletes[1].FilePath() {
		t.Fatalf("the vectors are in %v", deletes)
	}
	return deletes
}

// addEqualityDelete commits the deletion of a key as another program would.
func addEqualityDelete(t *testing.T, tbl *Table, key int64) {
	t.Helper()
	tx := load(t, tbl).NewTransaction()
	schema, err := table.SchemaToArrowSchema(iceberg.NewSchema(0, tbl.schema.Field(0)), nil, true, false)
	if err != nil {
		t.Fatal(err)
	}
	b := array.NewRecordBuilder(memory.DefaultAllocator, schema)
	b.Field(0).(*array.Int64Builder).Append(key)
	keys := func(yield func(arrow.RecordBatch, error) bool) { yield(b.NewRecordBatch(), nil) }
	deletes, err := tx.WriteEqualityDeletes(t.Context(), []int{1}, iter.Seq2[arrow.RecordBatch, error](keys))
	if err != nil {
		t.Fatal(err)
	}
	addDeletes(t, tbl, deletes...)
}

// Equality deletes cannot be told row by row: rewriting a file they apply to
// would bring rows back.
func TestEqualityDeletesOfOtherProgramsAreRefused(t *testing.T) {
	tbl, _ := twoFiles(t, Options{})
	addEqualityDelete(t, tbl, 1)
	staged := stage(t, tbl, 0, version{key: 2, cursor: 2, v: "new"}.row())
	_, err := tbl.Commit(t.Context(), []*Staged{staged}, nil)
	var told *protocol.Error
	if !errors.As(err, &told) || told.Kind != protocol.ConfigError || !strings.Contains(told.Message, "has equality deletes") {
		t.Errorf("error %v", err)
	}
	info, err := Describe(t.Context(), load(t, tbl))
	if err != nil || info.EqualityDeletes != 1 || info.DataFiles != 2 {
		t.Errorf("%+v, %v", info, err)
	}
	// A refresh is rid of them.
	if _, err := tbl.Replace(t.Context(), []*Staged{stage(t, tbl, 0, version{key: 1, cursor: 1, v: "x"}.row())}, nil); err != nil {
		t.Fatal(err)
	}
	expectRows(t, tbl, version{key: 1, cursor: 1, v: "x"}.json())
}

// Rows that were staged for a table carry its field ids; they must not land in
// another of the same name.
func TestATableMadeAnewTakesNoRowsOfTheOldOne(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	tbl := openTable(t, cat, plain("s"), Options{})
	staged := stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
	if err := cat.DropTable(t.Context(), tbl.id); err != nil {
		t.Fatal(err)
	}
	other := openTable(t, cat, planOf("s", optional("v", aLong), optional("id", aString)), Options{})
	_, err := tbl.Commit(t.Context(), []*Staged{staged}, nil)
	if err == nil || !strings.Contains(err.Error(), "was dropped and created again") {
		t.Errorf("error %v", err)
	}
	expectRows(t, other)
}

func TestATableThatIsGoneIsNamed(t *testing.T) {
	cat := openCatalog(t, t.TempDir())
	tbl := openTable(t, cat, plain("s"), Options{})
	staged := stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
	if err := cat.DropTable(t.Context(), tbl.id); err != nil {
		t.Fatal(err)
	}
	_, err := tbl.Commit(t.Context(), []*Staged{staged}, nil)
	var told *protocol.Error
	if !errors.As(err, &told) || told.Kind != protocol.TransientError || !strings.Contains(told.Message, "was dropped or renamed") {
		t.Errorf("error %v", err)
	}
}

// Of a column that another program drops the rows of this sync would hold
// nothing that a reader sees, and their states would be acknowledged. What it
// adds or renames is no matter.
func TestColumnsThatAreDroppedMeanwhileTakeNoRows(t *testing.T) {
	element := structOf(100, optional("a", aLong), optional("b", aString))
	plan := planOf("s", optional("id", aLong), optional("v", aString), optional("l", listOf(110, element)))
	for _, tt := range []struct {
		name   string
		change func(*table.UpdateSchema)
		want   string // in the error
	}{
		{"a column", func(u *table.UpdateSchema) { u.DeleteColumn([]string{"v"}) }, "Column v of table"},
		{"in an object", func(u *table.UpdateSchema) { u.DeleteColumn([]string{"l", "element", "a"}) }, "Column l.element.a of table"},
		{"one that the stream does not have", func(u *table.UpdateSchema) { u.DeleteColumn([]string{"left"}) }, ""},
		{"a name", func(u *table.UpdateSchema) { u.RenameColumn([]string{"v"}, "w") }, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			cat := openCatalog(t, t.TempDir())
			openTable(t, cat, planOf("s", optional("left", aString)), Options{})
			tbl := openTable(t, cat, plan, Options{})
			staged := stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
			changeColumns(t, tbl, tt.change)
			_, err := tbl.Commit(t.Context(), []*Staged{staged}, nil)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("error %v", err)
			}
			if landed := load(t, tbl).CurrentSnapshot() != nil; landed != (tt.want == "") {
				t.Errorf("landed = %t", landed)
			}
		})
	}
}
