package maintenance

import (
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
)

// sized are live files, each of a commit of its own unless they are given one.
func sized(t *testing.T, sequence func(i int) int64, bytes ...int64) []*snapshots.LiveFile {
	t.Helper()
	var files []*snapshots.LiveFile
	for i, size := range bytes {
		b, err := iceberg.NewDataFileBuilder(*iceberg.UnpartitionedSpec, iceberg.EntryContentData, string(rune('a'+i%26)), iceberg.ParquetFile, nil, nil, nil, 1, size)
		if err != nil {
			t.Fatal(err)
		}
		files = append(files, &snapshots.LiveFile{Data: b.Build(), Sequence: sequence(i)})
	}
	return files
}

func names(parts [][]*snapshots.LiveFile) []string {
	all := []string{}
	for _, part := range parts {
		text := ""
		for _, f := range part {
			text += f.Data.FilePath()
		}
		all = append(all, text)
	}
	return all
}

func TestOnlyNeighboursAreMerged(t *testing.T) {
	files := sized(t, func(i int) int64 { return int64(i) }, 1, 1, 9, 1, 9, 9, 1, 1)
	got := names(runsOfSmallFiles(files, func(f *snapshots.LiveFile) bool { return f.Data.FileSizeBytes() < 9 }))
	if diff := cmp.Diff([]string{"ab", "d", "gh"}, got); diff != "" {
		t.Errorf("stretches (-want +got):\n%s", diff)
	}
}

// A merged file's place in time is behind the last commit it holds rows of, so
// it holds all of that commit's.
func TestABinEndsWhereACommitDoes(t *testing.T) {
	for name, tc := range map[string]struct {
		sequences []int64
		want      []string
	}{
		"commits of one file":           {[]int64{1, 2, 3, 4, 5, 6}, []string{"ab", "cd", "ef"}},
		"a commit that would be cut":    {[]int64{1, 2, 2, 3, 3, 4}, []string{"abc", "de", "f"}},
		"one commit":                    {[]int64{1, 1, 1, 1, 1, 1}, []string{"ab", "cd", "ef"}},
		"a commit that is begun afresh": {[]int64{1, 1, 2, 2, 2, 2}, []string{"ab", "cd", "ef"}},
	} {
		files := sized(t, func(i int) int64 { return tc.sequences[i] }, 5, 5, 5, 5, 5, 5)
		if diff := cmp.Diff(tc.want, names(packBins(files, 10))); diff != "" {
			t.Errorf("%s (-want +got):\n%s", name, diff)
		}
	}
}

// What is merged pays: small files with their like, however many large ones
// there are.
func TestFilesAreMergedWithTheirLike(t *testing.T) {
	const kib, mib = 1 << 10, 1 << 20
	repeat := func(n int, size int64) []int64 {
		all := make([]int64, n)
		for i := range all {
			all[i] = size
		}
		return all
	}
	join := func(parts ...[]int64) (all []int64) {
		for _, p := range parts {
			all = append(all, p...)
		}
		return all
	}
	for name, tc := range map[string]struct {
		bytes []int64
		want  []int // sizes of what is merged, in files
	}{
		"few files":                         {repeat(15, 4*kib), nil},
		"enough files":                      {repeat(16, 4*kib), []int{16}},
		"not a large one for small ones":    {join(repeat(1, 300*mib), repeat(15, 4*kib)), nil},
		"but the small ones beside it":      {join(repeat(1, 300*mib), repeat(16, 4*kib)), []int{16}},
		"a tier that is full":               {repeat(16, 20*mib), []int{16}},
		"up to the target size":             {repeat(16, 100*mib), []int{5, 5, 5}},
		"full files never":                  {repeat(100, 400*mib), nil},
		"small ones apart, if they add up":  {join(repeat(15, 4*kib), repeat(1, 100*kib), repeat(15, 60*kib), repeat(1, 100*kib)), []int{32}},
		"very many, whatever their size is": {join(repeat(15, 4*kib), repeat(1, 300*mib), repeat(15, 4*kib), repeat(1, 70*kib), repeat(97, 65*kib)), []int{113}},
	} {
		t.Run(name, func(t *testing.T) {
			files := sized(t, func(i int) int64 { return int64(i) }, tc.bytes...)
			found, err := merges(files, 512*mib, false, func(stretch []*snapshots.LiveFile) ([][]*snapshots.LiveFile, error) {
				return [][]*snapshots.LiveFile{stretch}, nil
			})
			if err != nil {
				t.Fatal(err)
			}
			var got []int
			for _, b := range found {
				got = append(got, len(b))
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("merged (-want +got):\n%s", diff)
			}
		})
	}
}
