package member

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member/membertest"
)

var noon = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

func parse[T any](t *testing.T, text string) T {
	t.Helper()
	var v T
	if err := json.Unmarshal([]byte(text), &v); err != nil {
		t.Fatalf("parsing %s: %v", text, err)
	}
	return v
}

// seeds give members with different homes.
var seeds = []int64{0, 1, 2, 3, 4, 12345, -9}

// items parses what a member shows, newest first.
func items(t *testing.T, m *Member, k Kind, at time.Time) []membertest.Item {
	t.Helper()
	var all []membertest.Item
	for _, v := range m.List(k, at) {
		all = append(all, parse[membertest.Item](t, string(m.EncodeVersion(v.Version, at))))
	}
	return all
}

func TestMemberIsCoherentAtEveryInstant(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds[:testsize.Of(3, len(seeds))] {
		m := New(seed, noon.AddDate(-1, 0, 0).Truncate(day), Options{})
		instants := []time.Time{noon}
		for n := range 3 {
			instants = append(instants, noon.Add(m.dice("instant", n).between(-350*day, 90*day)))
		}
		for _, at := range instants {
			t.Run(fmt.Sprintf("seed %d at %s", seed, stamp(at)), func(t *testing.T) { checkCoherence(t, m, at) })
		}
	}
}

func checkCoherence(t *testing.T, m *Member, at time.Time) {
	byCycle := map[string]membertest.Item{}
	for i, c := range items(t, m, Cycles, at) {
		byCycle[c.Key()] = c
		checkRecord(t, c, at)
		if i == 0 != (c.End == nil) {
			t.Errorf("cycle %s is number %d from the newest and ends at %v", c.Key(), i, c.End)
		}
		if c.End != nil && c.End.Sub(c.Start) < 8*time.Hour {
			t.Errorf("cycle %s lasts %v", c.Key(), c.End.Sub(c.Start))
		}
	}
	inOrder := items(t, m, Cycles, at)
	for i := 1; i < len(inOrder); i++ {
		if later, earlier := inOrder[i-1], inOrder[i]; !earlier.End.Equal(later.Start) {
			t.Errorf("cycle %s ends at %s, the next begins at %s", earlier.Key(), earlier.End, later.Start)
		}
	}

	main, byID := map[int64]membertest.Item{}, map[string]membertest.Item{}
	for _, s := range items(t, m, Sleeps, at) {
		checkRecord(t, s, at)
		byID[s.Key()] = s
		c, ok := byCycle[fmt.Sprint(s.CycleID)]
		switch {
		case !ok:
			t.Errorf("sleep %s is of cycle %d, which does not exist", s.Key(), s.CycleID)
		case s.Nap && (s.Start.Before(c.Start) || c.End != nil && s.End.After(*c.End)):
			t.Errorf("nap %s lies outside its cycle %d", s.Key(), s.CycleID)
		case !s.Nap && !s.Start.Equal(c.Start):
			t.Errorf("sleep %s begins at %s, its cycle at %s", s.Key(), s.Start, c.Start)
		}
		if !s.Nap {
			if _, twice := main[s.CycleID]; twice {
				t.Errorf("cycle %d has two main sleeps", s.CycleID)
			}
			main[s.CycleID] = s
		}
	}

	for _, r := range items(t, m, Recoveries, at) {
		checkRecord(t, r, at)
		s, ok := main[r.CycleID]
		if !ok || s.Key() != r.SleepID {
			t.Errorf("recovery of cycle %d is of sleep %s, the cycle's is %s", r.CycleID, r.SleepID, s.Key())
		}
		if r.ScoreState == scored && s.ScoreState != scored {
			t.Errorf("recovery of cycle %d is scored, its sleep is %s", r.CycleID, s.ScoreState)
		}
	}

	exercise := items(t, m, Workouts, at)
	for i, w := range exercise {
		checkRecord(t, w, at)
		if i > 0 && w.End.After(exercise[i-1].Start) {
			t.Errorf("workouts %s and %s overlap", w.Key(), exercise[i-1].Key())
		}
	}
}

func checkRecord(t *testing.T, i membertest.Item, at time.Time) {
	t.Helper()
	if i.Updated.Before(i.Created) || i.Updated.After(at) {
		t.Errorf("%s: created %s, updated %s, seen %s", i.Key(), i.Created, i.Updated, at)
	}
	if i.End != nil && !i.End.After(i.Start) {
		t.Errorf("%s: from %s to %s", i.Key(), i.Start, i.End)
	}
	if !slices.Contains([]string{scored, pending, Unscorable}, i.ScoreState) || (i.Score != nil) != (i.ScoreState == scored) {
		t.Errorf("%s: state %s with score %v", i.Key(), i.ScoreState, i.Score != nil)
	}
}

func TestSleepScoresAddUp(t *testing.T) {
	m := New(11, noon.AddDate(-1, 0, 0), Options{})
	for _, v := range m.List(Sleeps, noon) {
		s := v.show(noon).(sleep)
		if s.Score.value == nil {
			continue
		}
		stages, need := s.Score.value.StageSummary, s.Score.value.SleepNeeded
		if sum := stages.Awake + stages.NoData + stages.Light + stages.SlowWave + stages.REM; sum != stages.InBed {
			t.Errorf("sleep %s: in bed %d, stages %d", s.ID, stages.InBed, sum)
		}
		if min(stages.Awake, stages.NoData, stages.Light, stages.SlowWave, stages.REM) < 0 {
			t.Errorf("sleep %s: negative stage in %+v", s.ID, stages)
		}
		if need.RecentNap > 0 || need.Baseline <= 0 {
			t.Errorf("sleep %s: need %+v", s.ID, need)
		}
	}
}

// Everything that makes a real member difficult happens within four years, most
// of it within months.
func TestEveryKindOfTroubleOccurs(t *testing.T) {
	t.Parallel()
	for _, seed := range seeds[:testsize.Of(1, 2)] {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			seen := troubles(t, New(seed, noon.AddDate(-4, 0, 0).Truncate(day), Options{}))
			for _, want := range []string{
				"sleep pending, then scored", "sleep pending, then unscorable", "recovery pending, then scored",
				"recovery unscorable", "workout pending, then scored", "workout unscorable", "cycle unscorable",
				"sleep scored hours after it appeared", "sleep appeared more than 10 hours late",
				"workout appeared more than a day late",
				"sleep edited", "sleep start moved", "workout edited", "recovery changed by an edit", "cycle moved by an edit",
				"sleep deleted", "nap deleted", "workout deleted", "recovery deleted", "sleep entered again under its cycle",
				"cycle of several days", "cycle without a sleep", "nap", "nap credited in the next need",
				"offset Z", "offset +05:30", "offset -08:00", "offset +09:00",
				"score null", "score absent", "end null", "end absent", "no sport id", "no distance",
				"number with .0", "whole number without", "no sleep performance", "calibrating", "no SpO2",
			} {
				if !seen[want] {
					t.Errorf("never happened: %s", want)
				}
			}
		})
	}
}

func troubles(t *testing.T, m *Member) map[string]bool {
	m.List(Cycles, noon)
	seen := map[string]bool{}
	for k, name := range []string{"cycle", "recovery", "sleep", "workout"} {
		for _, r := range m.collections[k].records {
			watch(t, m, name, r, seen)
		}
	}
	for key := range m.collections[Cycles].byKey {
		switch len(m.sleepsOf[key]) {
		case 0:
			seen["cycle without a sleep"] = true
		case 2:
			seen["sleep entered again under its cycle"] = true
		}
	}
	return seen
}

// watch goes through a record's life and notes what it sees.
func watch(t *testing.T, m *Member, name string, r *record, seen map[string]bool) {
	var first, before membertest.Item
	for i, v := range r.versions {
		if v.show == nil {
			seen[name+" deleted"] = true
			if before.Nap {
				seen["nap deleted"] = true
			}
			continue
		}
		text := string(m.EncodeVersion(&v, v.from))
		now := parse[membertest.Item](t, text)
		if i == 0 {
			first = now
		}
		note := map[string]bool{
			name + " pending, then scored":             before.ScoreState == pending && now.ScoreState == scored,
			name + " pending, then unscorable":         before.ScoreState == pending && now.ScoreState == Unscorable,
			name + " unscorable":                       now.ScoreState == Unscorable,
			name + " edited":                           before.End != nil && now.End != nil && !before.End.Equal(*now.End),
			name + " start moved":                      i > 0 && !before.Start.Equal(now.Start) && name != "recovery",
			"recovery changed by an edit":              name == "recovery" && before.ScoreState == scored && now.ScoreState == pending,
			"cycle moved by an edit":                   name == "cycle" && i > 0 && !before.Start.Equal(now.Start),
			name + " scored hours after it appeared":   i == 1 && v.from.Sub(first.Created) > 2*time.Hour,
			name + " appeared more than 10 hours late": now.End != nil && now.Created.Sub(*now.End) > 10*time.Hour,
			name + " appeared more than a day late":    now.End != nil && now.Created.Sub(*now.End) > day,
			"cycle of several days":                    name == "cycle" && now.End != nil && now.End.Sub(now.Start) > 2*day,
			"nap":                                      now.Nap,
			"offset " + now.Offset:                     true,
		}
		shape := parse[map[string]json.RawMessage](t, text)
		note["score null"] = string(shape["score"]) == "null"
		note["score absent"] = shape["score"] == nil
		if name == "cycle" {
			note["end null"] = string(shape["end"]) == "null"
			note["end absent"] = shape["end"] == nil
		}
		note["no sport id"] = name == "workout" && shape["sport_id"] == nil
		if now.Score != nil {
			score := parse[map[string]any](t, string(*now.Score))
			raw := parse[map[string]json.RawMessage](t, string(*now.Score))
			_, distance := score["distance_meter"]
			_, performance := score["sleep_performance_percentage"]
			_, spo2 := score["spo2_percentage"]
			note["no distance"] = name == "workout" && !distance
			note["no sleep performance"] = name == "sleep" && !performance
			note["no SpO2"] = name == "recovery" && !spo2
			note["calibrating"] = score["user_calibrating"] == true
			if need, ok := score["sleep_needed"].(map[string]any); ok {
				note["nap credited in the next need"] = need["need_from_recent_nap_milli"].(float64) < 0
			}
			if whole := string(raw["recovery_score"]); whole != "" {
				note["number with .0"] = whole[len(whole)-1] == '0' && slices.Contains([]byte(whole), '.')
				note["whole number without"] = !slices.Contains([]byte(whole), '.')
			}
		}
		for what, happened := range note {
			if happened {
				seen[what] = true
			}
		}
		before = now
	}
}

func TestUpdatedAtMovesWithEveryChange(t *testing.T) {
	t.Parallel()
	m := New(21, noon.AddDate(-2, 0, 0), Options{})
	m.List(Cycles, noon)
	for k := range m.collections {
		for _, r := range m.collections[k].records {
			var last time.Time
			for _, v := range r.versions {
				if v.show == nil {
					continue
				}
				if updated := parse[membertest.Item](t, string(m.EncodeVersion(&v, v.from))).Updated; !updated.After(last) {
					t.Errorf("%s: updated %s, then %s", r.key, last, updated)
				} else {
					last = updated
				}
			}
		}
	}
}

func TestOpenCycleGrowsWithTheClock(t *testing.T) {
	m := New(2, noon.AddDate(0, -1, 0), Options{})
	at := noon.Add(-8 * time.Hour)
	open := func() (string, cycle) {
		v := m.List(Cycles, at)[0]
		return v.Key, v.show(at).(cycle)
	}
	key, before := open()
	steps := 0
	for range 200 {
		at = at.Add(15 * time.Minute)
		nowKey, now := open()
		if nowKey != key {
			break
		}
		if before.Score.value == nil || now.Score.value == nil || now.UpdatedAt == before.UpdatedAt {
			before = now
			continue
		}
		steps++
		if now.Score.value.Kilojoule <= before.Score.value.Kilojoule || now.Score.value.Strain <= before.Score.value.Strain {
			t.Fatalf("at %s: from %+v to %+v", stamp(at), before.Score.value, now.Score.value)
		}
		before = now
	}
	if steps < 10 {
		t.Errorf("it grew only %d times", steps)
	}
	closed := m.Find(Cycles, key, at.Add(day)).show(at.Add(day)).(cycle)
	if closed.End.value == nil || closed.Score.value.Kilojoule <= before.Score.value.Kilojoule {
		t.Errorf("closed as %+v after %+v", closed, before.Score.value)
	}
}

func TestDeletedSleepTakesItsRecoveryAlong(t *testing.T) {
	m := New(2, noon.AddDate(-3, 0, 0), Options{})
	m.List(Sleeps, noon)
	deleted := 0
	for cycle, records := range m.sleepsOf {
		gone := records[0].versions[len(records[0].versions)-1]
		if gone.show != nil {
			continue
		}
		deleted++
		if m.Find(Cycles, cycle, gone.from) == nil {
			t.Errorf("cycle %s went with its sleep", cycle)
		}
		if m.Find(Recoveries, cycle, gone.from) != nil {
			t.Errorf("recovery of cycle %s outlived its sleep", cycle)
		}
	}
	if deleted < 3 {
		t.Errorf("only %d sleeps deleted in three years", deleted)
	}
}

// joinedAgo is the member whom a sandbox opened now has.
func joinedAgo(seed int64, years int, now time.Time) *Member {
	return New(seed, now.AddDate(-years, 0, 0).Truncate(day), Options{})
}

func TestMemberDependsOnSeedYearsAndInstantOnly(t *testing.T) {
	t.Parallel()
	show := func(m *Member, at time.Time) map[string]string {
		all := map[string]string{}
		for _, stream := range Streams {
			for key, record := range m.Oracle().Records(stream, at) {
				all[stream+" "+key] = string(record)
			}
		}
		return all
	}
	later := noon.Add(40 * day)
	jumped, stepped := joinedAgo(9, 1, noon), joinedAgo(9, 1, noon)
	want := show(jumped, later)
	for at := noon.Add(-400 * day); at.Before(later); at = at.Add(31 * time.Hour) {
		stepped.List(Kind(dayOf(at)%int(kinds)), at)
	}
	if diff := cmp.Diff(want, show(stepped, later)); diff != "" {
		t.Errorf("the way to an instant matters (-jumped +stepped):\n%s", diff)
	}
	if now, past := show(stepped, noon), show(joinedAgo(9, 1, noon), noon); !cmp.Equal(now, past) {
		t.Error("looking ahead changed the past")
	}
	if other := show(joinedAgo(10, 1, noon), later); cmp.Equal(want, other) {
		t.Error("two seeds, one member")
	}
}

// A sandbox that is opened again later shows the same life, so a state kept from
// the first time stays meaningful.
func TestReopenedLaterTheSameDaysAreShown(t *testing.T) {
	first := joinedAgo(4, 2, noon)
	again := joinedAgo(4, 2, noon.Add(5*day))
	at := noon.Add(5 * day)
	before, after := first.Oracle().Records("workout", at), again.Oracle().Records("workout", at)
	same := 0
	for key, record := range after {
		if other, ok := before[key]; ok {
			same++
			if string(other) != string(record) {
				t.Errorf("%s, now %s", other, record)
			}
		}
	}
	if same < len(after)-20 || same < 400 {
		t.Errorf("of %d workouts, %d are those of the first time", len(after), same)
	}
}

func BenchmarkFifteenYears(b *testing.B) {
	for b.Loop() {
		m := New(1, noon.AddDate(-15, 0, 0), Options{})
		if n := len(m.List(Sleeps, noon)); n < 4000 {
			b.Fatalf("only %d sleeps", n)
		}
	}
}
