package syncer

import "testing"

func TestRowsAreCountedInAnyOrder(t *testing.T) {
	var r rowsBySegment
	for _, segment := range []int64{3, 1, 7, 3, 2} {
		r.addRows(segment, segment)
	}
	for _, tt := range []struct{ after, upTo, want int64 }{
		{0, 9, 16}, {0, 0, 0}, {0, 1, 1}, {1, 3, 8}, {3, 6, 0}, {3, 7, 7}, {7, 9, 0},
	} {
		if got := r.between(tt.after, tt.upTo); got != tt.want {
			t.Errorf("%d rows after %d to %d, want %d", got, tt.after, tt.upTo, tt.want)
		}
	}
	r.dropUpTo(2)
	if got := r.between(0, 9); got != 13 {
		t.Errorf("%d rows are left", got)
	}
}
