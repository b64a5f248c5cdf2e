package sandbox

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member/membertest"
)

// aged returns the latest record of a stream that began at least some time before noon.
func (b *bench) aged(t *testing.T, stream string, age time.Duration) membertest.Item {
	t.Helper()
	query := url.Values{"limit": {"25"}}
	started := map[string]time.Time{}
	for key, r := range b.bounds(t, stream) {
		started[key] = r[0]
	}
	if age > 20*day {
		query.Set("end", stamp(noon.Add(-age+day)))
	}
	for _, record := range b.page(t, collectionPaths[stream], query).Records {
		if i := parse[membertest.Item](t, string(record)); !started[i.Key()].After(noon.Add(-age)) {
			return i
		}
	}
	t.Fatalf("no %s of %v ago", stream, age)
	return membertest.Item{}
}

// byID returns a record that is there.
func (b *bench) byID(t *testing.T, stream, key string) membertest.Item {
	t.Helper()
	got := b.get(t, strings.Replace(collectionPaths[stream], "/v2/recovery", "/v2/cycle", 1)+"/"+key+map[string]string{"recovery": "/recovery"}[stream])
	if got.status != http.StatusOK {
		t.Fatalf("%s %s: %d %s", stream, key, got.status, got.body)
	}
	return parse[membertest.Item](t, got.body)
}

// inserted returns the workouts that are there and were not.
func (b *bench) inserted(t *testing.T, stream string, before map[string]json.RawMessage) []membertest.Item {
	t.Helper()
	var found []membertest.Item
	for _, record := range b.walk(t, collectionPaths[stream], url.Values{"limit": {"25"}, "end": {stamp(noon.Add(day))}}) {
		if i := parse[membertest.Item](t, string(record)); before[i.Key()] == nil {
			found = append(found, i)
		}
	}
	return found
}

// changes plays a scenario and hands over a record before and after.
func changes(stream string, age time.Duration, check func(t *testing.T, before, after membertest.Item)) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		before := b.aged(t, stream, age)
		play()
		check(t, before, b.byID(t, stream, before.Key()))
	}
}

func wantRescored(t *testing.T, before, after membertest.Item) {
	t.Helper()
	if before.ScoreText() == after.ScoreText() || after.ScoreState != scored || !after.Updated.Equal(noon) {
		t.Errorf("%s, updated %s, after %s", after.ScoreText(), after.Updated, before.ScoreText())
	}
}

// settles follows a record that a scenario inserts until its score is there, or not to be.
func settles(stream string, after time.Duration, state string) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		before := b.Oracle().Records(stream, noon)
		play()
		key := b.inserted(t, stream, before)[0].Key()
		b.pass(after - time.Second)
		i := b.byID(t, stream, key)
		b.pass(time.Second)
		settled := b.byID(t, stream, key)
		if i.ScoreState != pending || i.Score != nil || settled.ScoreState != state || (settled.Score != nil) != (state == scored) {
			t.Errorf("%s, then %s", i.ScoreState, settled.ScoreState)
		}
		if want := noon.Add(after); !settled.Updated.Equal(want) {
			t.Errorf("updated at %s, want %s", settled.Updated, want)
		}
	}
}

// looksLike checks every record of a stream before and after a scenario.
func looksLike(stream string, seen func(fields map[string]json.RawMessage) bool) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		b.play(t, `{"events":[{"do":"insert","stream":"workout","age":"1h"}]}`)
		all := func() bool {
			for _, record := range b.walk(t, collectionPaths[stream], url.Values{"limit": {"25"}}) {
				if !seen(parse[map[string]json.RawMessage](t, string(record))) {
					return false
				}
			}
			return true
		}
		if all() {
			t.Error("all records look like that anyway")
		}
		play()
		if !all() {
			t.Error("not all records look like that")
		}
	}
}

var recordDemonstrations = map[string]demonstration{
	"late-score":      settles("workout", 30*time.Hour, scored),
	"late-unscorable": settles("sleep", 6*time.Hour, member.Unscorable),
	"unknown-score-state": changes("sleep", 2*day, func(t *testing.T, _, after membertest.Item) {
		if after.ScoreState != "PROVISIONAL" || after.Score != nil {
			t.Errorf("%s %s", after.ScoreState, after.ScoreText())
		}
	}),
	"zero-scores": changes("workout", 2*day, func(t *testing.T, _, after membertest.Item) {
		want := `{"strain":0.0,"average_heart_rate":0,"max_heart_rate":0,"kilojoule":0.0,"percent_recorded":0.0,`
		if !strings.HasPrefix(after.ScoreText(), want) {
			t.Errorf("score %s", after.ScoreText())
		}
	}),
	"cycle-rescored":    changes("cycles", 3*day, wantRescored),
	"recovery-rescored": changes("recovery", 3*day, wantRescored),
	"silent-rescore": changes("sleep", 2*day, func(t *testing.T, before, after membertest.Item) {
		if before.ScoreText() == after.ScoreText() || !before.Updated.Equal(after.Updated) {
			t.Errorf("%s, updated %s, after %s", after.ScoreText(), after.Updated, before.Updated)
		}
	}),
	"sleep-moved":   sleepMoves,
	"sleep-deleted": sleepGoes(404, 404, 404),
	"sleep-recreated": func(t *testing.T, b *bench, play func()) {
		old := b.aged(t, "sleep", 3*day)
		sleepGoes(404, 200, 200)(t, b, play)
		cycle := fmt.Sprint(old.CycleID)
		s, r := parse[membertest.Item](t, b.get(t, "/v2/cycle/"+cycle+"/sleep").body), b.byID(t, "recovery", cycle)
		if s.Key() == old.Key() || !s.Start.Equal(old.Start) || r.SleepID != s.Key() || s.ScoreState != pending {
			t.Errorf("sleep %s of %s after %s of %s, recovery of %s", s.Key(), s.Start, old.Key(), old.Start, r.SleepID)
		}
	},
	"nap-flips": func(t *testing.T, b *bench, play func()) {
		before := b.Oracle().Records("sleep", noon)
		play()
		found := b.inserted(t, "sleep", before)
		var naps []bool
		for range 3 {
			naps = append(naps, b.byID(t, "sleep", found[0].Key()).Nap)
			b.pass(time.Hour)
		}
		if diff := cmp.Diff([]bool{true, false, true}, naps); diff != "" {
			t.Errorf("nap (-want +got):\n%s", diff)
		}
	},
	"cycle-deleted": func(t *testing.T, b *bench, play func()) {
		old := b.aged(t, "cycles", 3*day)
		s := parse[membertest.Item](t, b.get(t, "/v2/cycle/"+old.Key()+"/sleep").body)
		play()
		for _, path := range []string{"/v2/cycle/" + old.Key(), "/v2/cycle/" + old.Key() + "/recovery", "/v2/activity/sleep/" + s.Key()} {
			if got := b.get(t, path).status; got != http.StatusNotFound {
				t.Errorf("%s: %d", path, got)
			}
		}
	},
	"workout-back-dated": func(t *testing.T, b *bench, play func()) {
		before := b.Oracle().Records("workout", noon)
		play()
		if found := b.inserted(t, "workout", before); len(found) != 1 || !found[0].Start.Equal(noon.Add(-30*day)) || !found[0].Created.Equal(noon) {
			t.Errorf("inserted %v", found)
		}
	},
	"old-record-edited": func(t *testing.T, b *bench, play func()) {
		old := b.aged(t, "sleep", 200*day)
		play()
		b.pass(5 * time.Minute)
		now := b.byID(t, "sleep", old.Key())
		if !now.Start.Equal(old.Start.Add(-20*time.Minute)) || !now.Updated.Equal(b.Now()) || now.ScoreText() == old.ScoreText() {
			t.Errorf("from %s, updated %s: %s", now.Start, now.Updated, now.ScoreText())
		}
	},
	"extra-fields": func(t *testing.T, b *bench, play func()) {
		looksLike("recovery", func(f map[string]json.RawMessage) bool { return f["strap_model"] != nil && f["beta"] != nil })(t, b, play)
		for _, path := range []string{"/v2/cycle", "/v2/user/profile/basic", "/v2/user/measurement/body"} {
			if f := parse[map[string]json.RawMessage](t, b.get(t, path).body); f["beta"] == nil {
				t.Errorf("%s has no other fields", path)
			}
		}
	},
	"no-legacy-ids": func(t *testing.T, b *bench, play func()) {
		looksLike("workout", func(f map[string]json.RawMessage) bool { return f["sport_id"] == nil && f["v1_id"] == nil })(t, b, play)
		for _, record := range b.walk(t, "/v2/activity/sleep", url.Values{"limit": {"25"}}) {
			if parse[membertest.Item](t, string(record)).V1ID != 0 {
				t.Fatalf("sleep %s", record)
			}
		}
	},
	"missing-values-null": looksLike("workout", func(f map[string]json.RawMessage) bool {
		return string(f["score_state"]) == `"SCORED"` || string(f["score"]) == "null"
	}),
	"missing-values-absent": looksLike("cycles", func(f map[string]json.RawMessage) bool {
		return string(f["end"]) != "null" && string(f["score"]) != "null"
	}),
}

// sleepGoes plays a scenario and asks for the sleep of three days ago, the sleep
// of its cycle and the recovery.
func sleepGoes(byID, ofCycle, recovery int) demonstration {
	return func(t *testing.T, b *bench, play func()) {
		old := b.aged(t, "sleep", 3*day)
		play()
		cycle := fmt.Sprintf("/v2/cycle/%d", old.CycleID)
		for path, want := range map[string]int{
			"/v2/activity/sleep/" + old.Key(): byID, cycle + "/sleep": ofCycle, cycle + "/recovery": recovery, cycle: 200,
		} {
			if got := b.get(t, path); got.status != want {
				t.Errorf("%s: %d %s, want %d", path, got.status, got.body, want)
			}
		}
	}
}

func sleepMoves(t *testing.T, b *bench, play func()) {
	old := b.aged(t, "sleep", 3*day)
	cycle := fmt.Sprint(old.CycleID)
	was := b.byID(t, "recovery", cycle)
	play()
	s, c := b.byID(t, "sleep", old.Key()), b.byID(t, "cycles", cycle)
	if want := old.Start.Add(-2 * time.Hour); !s.Start.Equal(want) || !c.Start.Equal(want) || s.ScoreState != pending {
		t.Errorf("sleep from %s and cycle from %s, want %s", s.Start, c.Start, want)
	}
	ends := slices.ContainsFunc(b.page(t, "/v2/cycle", nil).Records, func(record json.RawMessage) bool {
		i := parse[membertest.Item](t, string(record))
		return i.End != nil && i.End.Equal(s.Start)
	})
	if !ends {
		t.Errorf("no cycle ends at %s", s.Start)
	}
	if got := b.byID(t, "recovery", cycle); got.ScoreState != pending {
		t.Errorf("recovery %s", got.ScoreState)
	}
	b.pass(5 * time.Minute)
	if got := b.byID(t, "recovery", cycle); got.ScoreState != scored || got.ScoreText() == was.ScoreText() {
		t.Errorf("recovery %s %s, was %s", got.ScoreState, got.ScoreText(), was.ScoreText())
	}
}
