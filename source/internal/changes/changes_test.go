package changes

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/iblt"
)

const day = 24 * time.Hour

// opening is the end of the first sync.
var opening = time.Date(2026, 1, 15, 12, 0, 0, 0, time.UTC)

func wantEqual(t *testing.T, what string, got, want any, options ...cmp.Option) {
	t.Helper()
	if diff := cmp.Diff(want, got, options...); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

func TestKeysPackAndUnpack(t *testing.T) {
	for _, key := range []string{`1`, `93845`, `9223372036854775807`, `"ecfc6a15-4661-442f-a9a4-f160dd7afae8"`} {
		packed, err := packKey(key)
		if got := unpackKey(packed); err != nil || got != key {
			t.Errorf("%s became %s (%v)", key, got, err)
		}
	}
	for _, key := range []string{``, `null`, `"abc"`, `-1`, `1.5`, `1e3`, `{}`, `"ECFC6A15-4661-442F-A9A4-F160DD7AFAE8"`, `"ecfc6a15-4661-442f-a9a4-f160dd7afae"`, `ecfc6a15-4661-442f-a9a4-f160dd7afae8`} {
		if packed, err := packKey(key); err == nil {
			t.Errorf("%s was accepted as %x", key, packed)
		}
	}
}

func FuzzParseState(f *testing.F) {
	s := State{
		Version: 1, Until: opening, Walked: opening, WindowStart: opening.Add(-14 * day),
		Recent: []entry{{key: `5`, time: opening, fingerprint: 7}, {key: `"ecfc6a15-4661-442f-a9a4-f160dd7afae8"`, time: opening, fingerprint: 1 << 63}},
	}
	s.Older.Insert(iblt.Pair{Value: 3})
	raw, err := json.Marshal(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"version":1,"until":"2026-01-01T00:00:00Z","recent":[[1,2,"zz"]]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, ok := ParseState(raw)
		if !ok {
			return
		}
		tr := New(s, 14*day, false, s.Start)
		tr.Advance(s.Until.Add(day))
		out, err := tr.Checkpoint()
		if err != nil {
			return // a year beyond what JSON can say
		}
		if _, ok := ParseState(out); !ok {
			t.Errorf("%s became %s", raw, out)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"id":1,"start":"2026-01-01T00:00:00.000Z","end":null,"score_state":"SCORED"}`))
	f.Add([]byte(`{"cycle_id":1,"created_at":"2026-01-01T00:00:00.000Z"}`))
	f.Add([]byte(`{"id":"ecfc6a15-4661-442f-a9a4-f160dd7afae8","start":"x"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return // the client has let none pass
		}
		for _, field := range []string{"id", "cycle_id"} {
			r := ParseRecord(raw, field)
			if r.Untracked != "" {
				continue
			}
			if r.pair().Value != r.Fingerprint || r.Time.IsZero() && !strings.Contains(string(raw), "0001") {
				t.Errorf("%s: %+v", raw, r)
			}
		}
	})
}

// rec is a record with a version.
func rec(id int, began time.Time, version int) Record {
	raw := fmt.Sprintf(`{"id":%d,"start":%q,"end":%q,"score_state":"SCORED","version":%d}`, id, began.Format(time.RFC3339), began.Add(time.Hour).Format(time.RFC3339), version)
	return ParseRecord(json.RawMessage(raw), "id")
}

// observe gives a tracker a record, and emits it if it should be.
func observe(tr *Tracker, r Record) (emit bool) {
	emit = tr.Observe(r)
	if emit {
		tr.Emitted(r)
	}
	return emit
}

// tracked is a tracker that has read some records up to the opening.
func tracked(t *testing.T, lookback time.Duration, records ...Record) *Tracker {
	t.Helper()
	tr := New(State{}, lookback, false, time.Time{})
	for _, r := range records {
		if !observe(tr, r) {
			t.Fatalf("record %s is not new", r.Key)
		}
	}
	tr.Finish(opening, false)
	return tr
}

// again is the next sync from a tracker's state, a full walk or not.
func again(t *testing.T, tr *Tracker, full bool) *Tracker {
	t.Helper()
	return New(checkpointed(t, tr), tr.lookback, full, time.Time{})
}

// When everything old is different, as when WHOOP adds a field, what vanished is
// still told at once, and the next sync emits all the rest.
func TestManyOldChangesAreEmittedAnewAndDeletionsStillTold(t *testing.T) {
	var before []Record
	for i := range 400 {
		before = append(before, rec(i, opening.Add(-time.Duration(i)*day), 1))
	}
	walk := again(t, tracked(t, 14*day, before...), true)
	for i := range 399 {
		observe(walk, rec(i, opening.Add(-time.Duration(i)*day), 2))
	}
	list, more, lost := walk.Unresolved()
	wantEqual(t, "findings", list, []UnresolvedRow{{Key: "399", old: true}}, cmp.AllowUnexported(UnresolvedRow{}))
	if !more || lost {
		t.Fatalf("more %v, lost %v", more, lost)
	}
	if emit, _ := walk.Resolve(list[0], nil); !emit {
		t.Error("what is gone is not told")
	}
	walk.Finish(opening, more)

	all := again(t, walk, true)
	for i := range 399 {
		if !observe(all, rec(i, opening.Add(-time.Duration(i)*day), 2)) {
			t.Errorf("row %d is not emitted again", i)
		}
	}
	list, more, lost = all.Unresolved()
	if len(list) > 0 || more || lost {
		t.Errorf("then there are findings %v, more %v, lost %v", list, more, lost)
	}
	all.Finish(opening, more)
	if checkpointed(t, all).EmitAll {
		t.Error("there is no end to it")
	}
}

// Pages can miss a row while others appear or vanish. It is read by its key, and
// emitted only if it is another version.
func TestAnOldRowThatPagesMissedIsNoChange(t *testing.T) {
	var before []Record
	for i := range 100 {
		before = append(before, rec(i, opening.Add(-time.Duration(i)*day), 1))
	}
	for version, want := range map[int]bool{1: false, 2: true} {
		walk := again(t, tracked(t, 14*day, before...), true)
		for _, r := range before[:99] {
			if r.Key == "50" { // others have changed meanwhile
				r = rec(50, r.Time, 2)
			}
			observe(walk, r)
		}
		missed, emitted := rec(99, before[99].Time, version), map[string]bool{}
		list, _, _ := walk.Unresolved()
		for _, u := range list {
			r := &missed
			if u.Key == "50" {
				r = new(rec(50, before[50].Time, 2))
			}
			emitted[u.Key], _ = walk.Resolve(u, r)
		}
		wantEqual(t, fmt.Sprintf("emitted of version %d", version), emitted, map[string]bool{"50": true, "99": want})
		walk.Finish(opening, false)
		next := again(t, walk, true)
		for _, r := range before[:99] {
			if r.Key == "50" {
				r = rec(50, r.Time, 2)
			}
			observe(next, r)
		}
		observe(next, missed)
		if list, _, _ := next.Unresolved(); len(list) > 0 {
			t.Errorf("the next walk finds %v", list)
		}
	}
}

func TestManyDeletionsAreSaidToBeLost(t *testing.T) {
	var before []Record
	for i := range 400 {
		before = append(before, rec(i, opening.Add(-time.Duration(i)*day), 1))
	}
	walk := again(t, tracked(t, 14*day, before...), true)
	for i := range 200 {
		observe(walk, rec(i, opening.Add(-time.Duration(i)*day), 1))
	}
	if _, more, lost := walk.Unresolved(); !more || !lost {
		t.Errorf("more %v, lost %v of 200 rows that are gone", more, lost)
	}
}

// Version 1 had another sketch: its entries still tell what happened in the
// window, and a walk that emits everything makes up for the rest.
func TestOlderStateVersionsAreAccepted(t *testing.T) {
	recent := rec(1, opening.Add(-day), 1)
	raw := fmt.Sprintf(`{"version":1,"until":%q,"walked":%q,"window_start":%q,"recent":[[1,%d,"%016x"],[2,%d,"00000000000000aa"]],"older":"AAAA%s"}`,
		opening.Format(time.RFC3339), opening.Format(time.RFC3339), opening.Add(-14*day).Format(time.RFC3339),
		recent.Time.Unix(), recent.Fingerprint, recent.Time.Unix(), strings.Repeat("A", 3408)+"AA==")
	s, known := ParseState(json.RawMessage(raw))
	if !known || !s.EmitAll || s.Version != StateVersion {
		t.Fatalf("%v, %+v", known, s)
	}
	walk := New(s, 14*day, true, s.Start)
	old := rec(3, opening.Add(-100*day), 1)
	if !observe(walk, old) || !observe(walk, recent) {
		t.Error("not everything is emitted")
	}
	list, more, _ := walk.Unresolved()
	wantEqual(t, "findings", list, []UnresolvedRow{{Key: "2"}}, cmp.AllowUnexported(UnresolvedRow{}))
	if more {
		t.Error("the walk is to be repeated")
	}
}

func TestRowsThatMoveInTime(t *testing.T) {
	old, recent := rec(1, opening.Add(-50*day), 1), rec(2, opening.Add(-5*day), 1)
	oldMoved, recentMoved := rec(1, opening.Add(-2*day), 2), rec(2, opening.Add(-60*day), 2)

	tr := again(t, tracked(t, 14*day, old, recent), false)
	if !observe(tr, oldMoved) {
		t.Error("a row that moved into the window is not emitted")
	}
	list, _, _ := tr.Unresolved()
	wantEqual(t, "findings", list, []UnresolvedRow{{Key: "2"}}, cmp.AllowUnexported(UnresolvedRow{})) // it did not come
	if emit, _ := tr.Resolve(list[0], &recentMoved); !emit {
		t.Error("a row that moved out of the window is not emitted")
	}
	tr.Finish(opening, false)

	for _, later := range []time.Duration{0, 30 * day} { // while the moved row is in the window, and after
		if later > 0 {
			tr = again(t, tr, false)
			observe(tr, oldMoved)
			tr.Finish(opening.Add(later), false)
		}
		walk := again(t, tr, true)
		if observe(walk, oldMoved) || observe(walk, recentMoved) {
			t.Error("a row is emitted though it has not changed")
		}
		if list, more, lost := walk.Unresolved(); len(list) > 0 || more || lost {
			t.Errorf("%v later: findings %v, more %v, lost %v", later, list, more, lost)
		}
	}
}

// A row from before the window that the pages of a full walk missed may have moved into
// the window. It is then remembered with the others there, and does not come again.
func TestAnOldRowThatMovedIntoTheWindowComesOnce(t *testing.T) {
	old, moved := rec(1, opening.Add(-50*day), 1), rec(1, opening.Add(-2*day), 2)
	walk := again(t, tracked(t, 14*day, old, rec(2, opening.Add(-40*day), 1)), true)
	observe(walk, rec(2, opening.Add(-40*day), 1))
	list, _, _ := walk.Unresolved()
	if len(list) != 1 || list[0].Key != "1" {
		t.Fatalf("findings %v", list)
	}
	if emit, _ := walk.Resolve(list[0], &moved); !emit {
		t.Error("it is not emitted")
	}
	walk.Finish(opening, false)
	for _, full := range []bool{false, true} {
		next := again(t, walk, full)
		if observe(next, moved) {
			t.Errorf("full walk %v: it is emitted twice", full)
		}
		observe(next, rec(2, opening.Add(-40*day), 1))
		if list, more, lost := next.Unresolved(); len(list) > 0 || more || lost {
			t.Errorf("full walk %v: findings %v, more %v, lost %v", full, list, more, lost)
		}
	}
}

// An open cycle comes with every window, however long ago it began.
func TestOpenRowIsFollowedForAsLongAsItLasts(t *testing.T) {
	open := rec(1, opening.Add(-10*day), 1)
	open.Open, open.Unsettled, open.End = true, true, time.Time{}
	tr := tracked(t, 3*day, open)
	for i := range 10 {
		tr = again(t, tr, false)
		if observe(tr, open) {
			t.Error("it is emitted though it has not changed")
		}
		tr.Finish(opening.Add(time.Duration(i)*10*day), false)
		if s := checkpointed(t, tr); s.Until.Sub(s.WindowStart) > maxStretch || len(s.Recent) != 1 {
			t.Fatalf("the state is %+v", s)
		}
	}
	closed := open
	closed.Open, closed.Unsettled, closed.Fingerprint, closed.End = false, false, 5, opening.Add(90*day)
	tr = again(t, tr, false)
	if !observe(tr, closed) {
		t.Error("its end is not emitted")
	}
	tr.Finish(opening.Add(100*day), false)
	if s := checkpointed(t, tr); len(s.Recent) > 0 || s.Older == (iblt.Table{}) {
		t.Errorf("the state is %+v", s)
	}
}

// WHOOP's clock may be behind that of what it has recorded: a tombstone must not
// be older than the row, and the row wins if it returns as it was.
func TestTombstoneKnowsTheVersionThatItDeletes(t *testing.T) {
	r := rec(1, opening.Add(-day), 1)
	r.Updated = opening.Add(-time.Hour)
	tr := again(t, tracked(t, 14*day, r), false)
	list, _, _ := tr.Unresolved()
	emit, updated := tr.Resolve(list[0], nil)
	if !emit || !updated.Equal(r.Updated) {
		t.Errorf("%v, a tombstone of %v for a row of %v", emit, updated, r.Updated)
	}
	if !observe(tr, r) {
		t.Error("it returns and is not emitted")
	}
}

func TestTheWindowReachesBackForWhatIsStillToComeAndNoFurther(t *testing.T) {
	for name, c := range map[string]struct {
		lookback, unsettled, newest, want time.Duration
	}{
		"the lookback":              {14 * day, 0, day, 14 * day},
		"a score within":            {14 * day, 10 * day, day, 14 * day},
		"a score":                   {14 * day, 20 * day, day, 20 * day},
		"a score too far back":      {14 * day, 40 * day, day, 14 * day},
		"the newest row":            {14 * day, 0, 20 * day, 20 * day},
		"the newest, too far back":  {14 * day, 0, 40 * day, 30 * day},
		"the newest within a score": {14 * day, 25 * day, 20 * day, 25 * day},
		"a long lookback":           {60 * day, 40 * day, 50 * day, 60 * day},
		"no lookback":               {0, 0, day, 2 * day},
		"no lookback, a score":      {0, 3 * day, day, 3 * day},
		"no lookback, the newest":   {0, 0, 5 * day, 5 * day},
	} {
		t.Run(name, func(t *testing.T) {
			tr := New(State{}, c.lookback, false, time.Time{})
			observe(tr, rec(1, opening.Add(-100*day), 1))
			observe(tr, rec(2, opening.Add(-c.newest), 1))
			if c.unsettled > 0 {
				r := rec(3, opening.Add(-c.unsettled), 1)
				r.Unsettled = true
				observe(tr, r)
			}
			tr.Finish(opening, false)
			if got := opening.Sub(checkpointed(t, tr).WindowStart); got != c.want {
				t.Errorf("the window begins %v back, want %v", got, c.want)
			}
		})
	}
}

// A record can appear hours after a newer one, and days after it began if it is the newest.
// Neither is taken for a row from before the window, and a row that was emitted is no new one.
func TestWhatAppearsLateIsNewWithoutALookback(t *testing.T) {
	known := []Record{rec(1, opening.Add(-9*day), 1), rec(2, opening.Add(-2*time.Hour), 1)}
	tr := again(t, tracked(t, 0, known...), false)
	for _, late := range []Record{rec(3, opening.Add(-3*time.Hour), 1), rec(4, opening.Add(-47*time.Hour), 1), rec(5, opening.Add(-time.Hour), 1)} {
		if !observe(tr, late) {
			t.Errorf("row %s is not new", late.Key)
		}
	}
	if observe(tr, known[0]) || observe(tr, known[1]) {
		t.Error("a row comes twice")
	}
	tr.Finish(opening.Add(20*day), false)
	tr = again(t, tr, false)
	if !observe(tr, rec(6, opening.Add(10*time.Minute), 1)) {
		t.Error("a row that is newer than all others is not new after 20 days")
	}
}

func checkpointed(t *testing.T, tr *Tracker) State {
	t.Helper()
	raw, err := tr.Checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := ParseState(raw)
	if !ok {
		t.Fatalf("not a state: %s", raw)
	}
	return s
}

// A lookback that was raised grows with time: rows from before the window are in the
// sketch, where they cannot be told apart.
func TestTheWindowNeverMovesBackwards(t *testing.T) {
	old := rec(1, opening.Add(-10*day), 1)
	tr := tracked(t, 3*day, old, rec(2, opening.Add(-day), 1))
	next := New(checkpointed(t, tr), 60*day, false, time.Time{})
	next.Finish(opening.Add(day), false)
	if got, want := checkpointed(t, next).WindowStart, opening.Add(-3*day); !got.Equal(want) {
		t.Errorf("the window begins at %v, want %v", got, want)
	}
}

// A sync that is cut leaves rows that it has not read: the window still has them, so
// that the next sync reads them.
func TestTheWindowWaitsForRowsThatWereNotRead(t *testing.T) {
	waiting := rec(1, opening.Add(-10*day), 1)
	tr := again(t, tracked(t, 14*day, waiting), false)
	observe(tr, rec(2, opening.Add(19*day), 1))
	tr.Advance(opening.Add(20 * day))
	s := checkpointed(t, tr)
	if s.WindowStart.After(waiting.Time) || len(s.Recent) != 2 {
		t.Errorf("the window begins at %v and has %d rows; the row began at %v", s.WindowStart, len(s.Recent), waiting.Time)
	}
	if observe(tr, waiting); checkpointed(t, tr).Until != s.Until {
		t.Error("a row moves the end of what was read")
	}
	tr.Advance(opening.Add(20 * day))
	if s := checkpointed(t, tr); !s.WindowStart.Equal(opening.Add(6*day)) || len(s.Recent) != 1 {
		t.Errorf("then it begins at %v and has %d rows", s.WindowStart, len(s.Recent))
	}
}

// A row that lies across two slices comes with both, and between them may leave the window.
func TestARowThatLeftTheWindowIsNotNewInTheSameSync(t *testing.T) {
	long := rec(1, opening.Add(-50*day), 1)
	tr := New(State{}, 14*day, false, time.Time{})
	if !observe(tr, long) {
		t.Fatal("it is not emitted")
	}
	if tr.Advance(opening.Add(-20 * day)); observe(tr, long) {
		t.Error("it is emitted twice")
	}
}

// A row that cannot be tracked any more leaves nothing behind in the state.
func TestAForgottenRowIsNotMissed(t *testing.T) {
	before := []Record{rec(1, opening.Add(-50*day), 1), rec(2, opening.Add(-day), 1), rec(3, opening.Add(-60*day), 1)}
	walk := again(t, tracked(t, 14*day, before...), true)
	observe(walk, rec(1, before[0].Time, 2)) // old and different
	observe(walk, before[2])
	list, _, _ := walk.Unresolved()
	var keys []string
	for _, u := range list {
		keys = append(keys, u.Key)
		walk.Forget(u)
	}
	wantEqual(t, "findings", keys, []string{"1", "2"})
	walk.Finish(opening, false)
	next := again(t, walk, true)
	observe(next, before[2])
	if list, more, lost := next.Unresolved(); len(list) > 0 || more || lost {
		t.Errorf("the next walk finds %v, more %v, lost %v", list, more, lost)
	}
}

// A row that was to be emitted and was not comes as a change again, and leaves the state
// without a tombstone if it is gone.
func TestARowThatWasNotEmittedIsStillOwed(t *testing.T) {
	for name, began := range map[string]time.Duration{
		"in the window":     -2 * day,
		"before the window": -50 * day,
	} {
		r := rec(1, opening.Add(began), 1)
		tr := New(State{}, 14*day, false, time.Time{})
		if !tr.Observe(r) {
			t.Fatal("it is not new")
		}
		tr.Finish(opening, false)
		tr = again(t, tr, false)
		for range 2 {
			if !tr.Observe(r) {
				t.Errorf("%s: it is not new any more", name)
			}
		}
		tr.Emitted(r)
		if tr.Observe(r) {
			t.Errorf("%s: it comes twice", name)
		}
		tr.Finish(opening.Add(time.Hour), false)

		tr = New(State{}, 14*day, false, time.Time{})
		tr.Observe(r)
		tr.Finish(opening, false)
		tr = again(t, tr, false)
		list, _, _ := tr.Unresolved()
		if len(list) != 1 {
			t.Fatalf("%s: findings %v", name, list)
		}
		if emit, _ := tr.Resolve(list[0], nil); emit {
			t.Errorf("%s: a row that was never emitted has a tombstone", name)
		}
	}
}
