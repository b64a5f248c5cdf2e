package laketest

import (
	"cmp"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/apache/arrow-go/v18/arrow/array"
	"github.com/apache/arrow-go/v18/arrow/memory"
	"github.com/apache/arrow-go/v18/parquet/file"
	"github.com/apache/arrow-go/v18/parquet/pqarrow"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	gocmp "github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
)

var Sorted = gocmp.Transformer("sorted", func(s []string) []string { return slices.Sorted(slices.Values(s)) })

// PathOf is the path of a file.
func PathOf(t testing.TB, uri string) string {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	return u.Path
}

// CheckFiles looks at a table's current snapshot without the library's
// scanner: every file is there and as big as the manifest says, no data file
// has two delete files, every delete file is about one live data file and one
// row of it at most once, and the summary's totals are the sums.
func CheckFiles(t testing.TB, tbl *table.Table) {
	t.Helper()
	snapshot := tbl.CurrentSnapshot()
	if snapshot == nil {
		return
	}
	files, err := tbl.FS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	manifests, err := snapshot.Manifests(files)
	if err != nil {
		t.Fatal(err)
	}
	data := map[string]iceberg.DataFile{}
	deletes := map[string][]iceberg.DataFile{}
	var records, deletePositions, size int64
	for _, m := range manifests {
		for entry, err := range m.Entries(files, true) {
			if err != nil {
				t.Fatal(err)
			}
			f := entry.DataFile()
			info, err := os.Stat(PathOf(t, f.FilePath()))
			if err != nil {
				t.Errorf("the snapshot names a file that is not there: %v", err)
				continue
			}
			if info.Size() != f.FileSizeBytes() && !table.IsDeletionVector(f) {
				t.Errorf("%s has %d bytes, the manifest says %d", f.FilePath(), info.Size(), f.FileSizeBytes())
			}
			size += f.FileSizeBytes()
			switch f.ContentType() {
			case iceberg.EntryContentData:
				if data[f.FilePath()] != nil {
					t.Errorf("%s is named twice", f.FilePath())
				}
				data[f.FilePath()] = f
				records += f.Count()
			case iceberg.EntryContentPosDeletes:
				target, ok := TargetOf(f)
				if !ok {
					t.Errorf("delete file %s is not about one data file", f.FilePath())
				}
				deletes[target] = append(deletes[target], f)
				deletePositions += f.Count()
			default:
				t.Errorf("%s is %s", f.FilePath(), f.ContentType())
			}
		}
	}
	total := 0
	for target, d := range deletes {
		total += len(d)
		if len(d) > 1 {
			t.Errorf("%d delete files for %s", len(d), target)
		}
		of := data[target]
		if of == nil {
			t.Errorf("delete file %s is about %s, which is not live", d[0].FilePath(), target)
			continue
		}
		if !table.IsDeletionVector(d[0]) {
			checkPositions(t, d[0], of)
		}
	}
	for key, want := range map[string]int64{
		"total-data-files": int64(len(data)), "total-delete-files": int64(total),
		"total-records": records, "total-position-deletes": deletePositions, "total-files-size": size, "total-equality-deletes": 0,
	} {
		if got := snapshot.Summary.Properties.GetInt64(key, -1); got != want {
			t.Errorf("summary says %s is %d, it is %d", key, got, want)
		}
	}
}

// checkPositions looks at the rows that a position delete file names of a data file.
func checkPositions(t testing.TB, deletes, of iceberg.DataFile) {
	t.Helper()
	previous := int64(-1)
	for _, row := range ReadPositions(t, deletes.FilePath(), of.FilePath()) {
		if row <= previous || row >= of.Count() {
			t.Errorf("delete file %s: row %d after row %d of %d", deletes.FilePath(), row, previous, of.Count())
		}
		previous = row
	}
}

// ReadPositions reads a position delete file with nothing but a Parquet
// reader.
func ReadPositions(t testing.TB, uri, target string) []int64 {
	t.Helper()
	in, err := file.OpenParquetFile(PathOf(t, uri), false)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	r, err := pqarrow.NewFileReader(in, pqarrow.ArrowReadProperties{}, memory.DefaultAllocator)
	if err != nil {
		t.Fatal(err)
	}
	tbl, err := r.ReadTable(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var all []int64
	tr := array.NewTableReader(tbl, 0)
	for tr.Next() {
		for i := range int(tr.RecordBatch().NumRows()) {
			if got := tr.RecordBatch().Column(0).(*array.String).Value(i); got != target {
				t.Errorf("%s names %s", uri, got)
			}
			all = append(all, tr.RecordBatch().Column(1).(*array.Int64).Value(i))
		}
	}
	return all
}

// DataFilesOnDisk lists the files under a table's data directory.
func DataFilesOnDisk(t testing.TB, tbl *lake.Table) []string {
	t.Helper()
	var files []string
	root := filepath.Join(PathOf(t, Load(t, tbl).Location()), "data")
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			files = append(files, strings.TrimPrefix(path, root))
		}
		return err
	})
	if err != nil && !os.IsNotExist(err) {
		t.Fatal(err)
	}
	return files
}

// Named lists the files that any snapshot of a table names, data files first.
func Named(t testing.TB, tbl *table.Table) []string {
	t.Helper()
	files, err := tbl.FS(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	var paths []string
	for _, s := range tbl.Metadata().Snapshots() {
		paths = append(paths, s.ManifestList)
		manifests, err := s.Manifests(files)
		if err != nil {
			t.Fatal(err)
		}
		for _, m := range manifests {
			paths = append(paths, m.FilePath())
			for entry, err := range m.Entries(files, true) {
				if err != nil {
					t.Fatal(err)
				}
				paths = append(paths, entry.DataFile().FilePath())
			}
		}
	}
	slices.SortFunc(paths, cmp.Compare)
	return slices.Compact(paths)
}

// TargetOf is the one data file that a position delete file is about.
func TargetOf(d iceberg.DataFile) (string, bool) {
	if ref := d.ReferencedDataFile(); ref != nil {
		return *ref, true
	}
	path := iceberg.PositionalDeleteSchema.Field(0).ID
	low, high := string(d.LowerBoundValues()[path]), string(d.UpperBoundValues()[path])
	return low, low != "" && low == high
}

// SmallManifests is how many manifests of one kind may be less than full.
const SmallManifests = 20
