package sandbox

import (
	"net/url"
	"slices"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member/membertest"
)

// paging plays a scenario, walks the workouts five by five, and hands over the
// keys of before and those of the walk.
func paging(check func(t *testing.T, b *bench, before, walked []string)) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		before := b.keys(t, 25)
		play()
		check(t, b, before, b.keys(t, 5))
	}
}

// What changes while a client goes from page to page.
var pagingDemonstrations = map[string]demonstration{
	"insert-at-head-while-paging": paging(func(t *testing.T, _ *bench, before, walked []string) {
		if walked[4] != before[4] || walked[5] != before[4] || len(walked) != len(before)+1 {
			t.Errorf("walked %v of %v", walked[:10], before[:10])
		}
	}),
	"insert-in-the-middle-while-paging": paging(func(t *testing.T, b *bench, before, walked []string) {
		at := slices.IndexFunc(walked, func(key string) bool { return !slices.Contains(before, key) })
		if at < 5 || len(walked) != len(before)+1 {
			t.Fatalf("%d records, a new one at %d; there were %d", len(walked), at, len(before))
		}
		if i := b.byID(t, "workout", walked[at]); noon.Sub(i.Start) < 9*day {
			t.Errorf("it began at %s", i.Start)
		}
	}),
	"delete-while-paging": paging(func(t *testing.T, _ *bench, before, walked []string) {
		if slices.Contains(walked, before[5]) || len(walked) != len(before)-1 {
			t.Errorf("walked %v of %v", walked[:10], before[:10])
		}
	}),
	"rescore-while-paging": func(t *testing.T, b *bench, play func()) {
		play()
		query := url.Values{"limit": {"5"}}
		first := b.page(t, workoutPath, query)
		query.Set("nextToken", *first.NextToken)
		b.page(t, workoutPath, query)
		changed := 0
		for _, record := range first.Records {
			old := parse[membertest.Item](t, string(record))
			if now := b.byID(t, "workout", old.Key()); now.ScoreText() != old.ScoreText() && now.Updated.After(noon) {
				changed++
			}
		}
		if changed != 1 {
			t.Errorf("%d records changed", changed)
		}
	},
	"move-while-paging": paging(func(t *testing.T, _ *bench, before, walked []string) {
		for _, key := range before[:5] {
			if slices.Index(walked, key) < 5 && slices.Contains(walked[5:], key) {
				return
			}
		}
		t.Errorf("no record came twice: %v of %v", walked[:20], before[:20])
	}),
	"order-ties": func(t *testing.T, b *bench, play func()) {
		twin := b.aged(t, "workout", 3*day)
		before := b.Oracle().Records("workout", noon)
		play()
		found := b.inserted(t, "workout", before)
		if len(found) != 1 || !found[0].Start.Equal(twin.Start) || found[0].Key() == twin.Key() {
			t.Errorf("inserted %v beside %v", found, twin)
		}
		walked := b.keys(t, 1)
		if slices.Sort(walked); len(slices.Compact(walked)) != len(before)+1 {
			t.Errorf("a walk in pages of one found %d, want %d", len(walked), len(before)+1)
		}
	},
}
