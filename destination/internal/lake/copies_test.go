package lake

import "testing"

func TestRowsAreDeletedBesideFilesOnlyWhenRewritingIsMuch(t *testing.T) {
	const little, much = rewriteLimit, rewriteLimit + 1
	for _, tc := range []struct {
		upsert            Upsert
		version           int
		rewrite, newBytes int64
		copies            bool
	}{
		{Auto, 2, little, 0, true}, // what only deletes rows brings nothing
		{Auto, 2, much, 0, false},
		{Auto, 2, much, 1, false},
		{Auto, 2, much, much, true},
		{Auto, 2, much + 1, much, false},
		{Auto, 3, little, 0, true},
		{Auto, 3, much, 0, false},
		{CopyOnWrite, 2, much, 0, true},
		{CopyOnWrite, 3, much, 0, true},
		{MergeOnRead, 2, little, 0, false},
		{MergeOnRead, 2, little, much, false},
		{MergeOnRead, 3, little, 0, false},
		{Auto, 1, much, 0, true}, // format version 1 has no delete files
		{MergeOnRead, 1, much, 0, true},
	} {
		if got := tc.upsert.Copies(tc.version, tc.rewrite, tc.newBytes); got != tc.copies {
			t.Errorf("%s in version %d, %d bytes to rewrite, %d new: copies is %v", tc.upsert, tc.version, tc.rewrite, tc.newBytes, got)
		}
	}
}
