package lake

import "testing"

func TestUpsertWritesDeletesOnlyWhenRewritingIsMuch(t *testing.T) {
	u := &upsert{t: &Table{opts: Options{Upsert: Auto}}}
	for _, tc := range []struct {
		rewrite, fresh int64
		copies         bool
	}{{rewriteLimit, 1, true}, {rewriteLimit + 1, 1, false}, {rewriteLimit + 1, rewriteLimit + 1, true}} {
		if got := u.copies(2, tc.rewrite, tc.fresh); got != tc.copies {
			t.Errorf("%d bytes to rewrite, %d new: copies is %v", tc.rewrite, tc.fresh, got)
		}
	}
}
