package main

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestSketchListsSmallDifferences(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	some := func() element {
		e := element{Hash: r.Uint64()}
		for i := range e.Key {
			e.Key[i] = byte(r.Uint32())
		}
		return e
	}
	const rounds = 100
	complete := map[int]int{}
	for _, size := range []int{0, 1, 2, 10, 20, 30, 200} {
		for range rounds {
			var s sketch
			for range 50 { // in both sets
				e := some()
				s.add(e)
				s.remove(e)
			}
			var gone, came []element
			for i := range size {
				e := some()
				if i%3 == 0 {
					came = append(came, e)
					s.remove(e)
				} else {
					gone = append(gone, e)
					s.add(e)
				}
			}
			added, removed, ok := s.list()
			if ok {
				complete[size]++
				wantEqual(t, "added", sorted(added), sorted(gone))
				wantEqual(t, "removed", sorted(removed), sorted(came))
			}
			for _, e := range added {
				if !slices.Contains(gone, e) {
					t.Errorf("%v was listed and never added", e)
				}
			}
			for _, e := range removed {
				if !slices.Contains(came, e) {
					t.Errorf("%v was listed and never removed", e)
				}
			}
		}
	}

	for size, least := range map[int]int{0: rounds, 1: rounds, 2: rounds, 10: rounds * 99 / 100, 20: rounds * 98 / 100, 30: rounds * 97 / 100} {
		if complete[size] < least {
			t.Errorf("of %d differences all were listed in %d of %d rounds, want %d", size, complete[size], rounds, least)
		}
	}
	if complete[200] > 0 {
		t.Error("200 differences were listed from 80 cells")
	}
}

func sorted(list []element) []element {
	return slices.SortedFunc(slices.Values(list), func(a, b element) int { return strings.Compare(fmt.Sprint(a), fmt.Sprint(b)) })
}

func TestSketchSurvivesItsText(t *testing.T) {
	var s sketch
	for i := range uint64(500) {
		s.add(element{Hash: i * 7919})
	}
	text, err := s.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back sketch
	if err := back.UnmarshalText(text); err != nil || back != s {
		t.Errorf("another sketch came back (%v)", err)
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
	s := state{
		Version: 1, Until: opening, Walked: opening, WindowStart: opening.Add(-14 * day),
		Recent: []entry{{key: `5`, time: opening, hash: 7}, {key: `"ecfc6a15-4661-442f-a9a4-f160dd7afae8"`, time: opening, hash: 1 << 63}},
	}
	s.Older.add(element{Hash: 3})
	raw, err := json.Marshal(s)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(raw)
	f.Add([]byte(`{"version":1,"until":"2026-01-01T00:00:00Z","recent":[[1,2,"zz"]]}`))
	f.Add([]byte(`null`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		s, ok := parseState(raw)
		if !ok {
			return
		}
		tr, err := newTracker(s, 14*day, false)
		if err != nil {
			return // a year beyond what JSON can say
		}
		tr.advance(s.Until.Add(day))
		out, err := tr.checkpoint()
		if err != nil {
			return
		}
		if _, ok := parseState(out); !ok {
			t.Errorf("%s became %s", raw, out)
		}
	})
}

func FuzzParseRecord(f *testing.F) {
	f.Add([]byte(`{"id":1,"start":"2026-01-01T00:00:00.000Z","end":null,"score_state":"SCORED"}`))
	f.Add([]byte(`{"cycle_id":1,"created_at":"2026-01-01T00:00:00.000Z"}`))
	f.Add([]byte(`{"id":"ecfc6a15-4661-442f-a9a4-f160dd7afae8","start":"x"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		for _, field := range []string{"id", "cycle_id"} {
			r, err := parseRecord(raw, field)
			if err != nil {
				continue
			}
			if r.element().Hash != r.hash || r.time.IsZero() && !strings.Contains(string(raw), "0001") {
				t.Errorf("%s: %+v", raw, r)
			}
			if !json.Valid(tombstone(field, r.key, r.time)) {
				t.Errorf("the tombstone of %s is no JSON", raw)
			}
		}
	})
}

// rec is a record with a version.
func rec(id int, began time.Time, version int) record {
	raw := fmt.Sprintf(`{"id":%d,"start":%q,"end":%q,"score_state":"SCORED","version":%d}`, id, began.Format(time.RFC3339), began.Add(time.Hour).Format(time.RFC3339), version)
	r, err := parseRecord(json.RawMessage(raw), "id")
	if err != nil {
		panic(err)
	}
	return r
}

func TestTooManyOldChangesStartTheStreamOver(t *testing.T) {
	tr, err := newTracker(state{}, 14*day, false)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		if !tr.consider(rec(i, opening.Add(-time.Duration(i)*day), 1)) {
			t.Fatalf("record %d is not new", i)
		}
	}
	tr.finish(opening, false)
	s := checkpointed(t, tr)

	again, err := newTracker(s, 14*day, true)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 400 {
		again.consider(rec(i, opening.Add(-time.Duration(i)*day), 2))
	}
	list, more := again.findings()
	if !more {
		t.Fatalf("%d findings seem to be all", len(list))
	}
	again.finish(opening, more)
	raw, err := again.checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	if _, known := parseState(raw); known {
		t.Errorf("the stream goes on from %s", raw)
	}
}

func TestWindowStretchesForUnsettledRowsAndNoFurther(t *testing.T) {
	for name, c := range map[string]struct{ age, want time.Duration }{
		"none":         {0, 14 * day},
		"within":       {10 * day, 14 * day},
		"stretched":    {20 * day, 20 * day},
		"too far back": {40 * day, 14 * day},
	} {
		t.Run(name, func(t *testing.T) {
			tr, err := newTracker(state{}, 14*day, false)
			if err != nil {
				t.Fatal(err)
			}
			tr.consider(rec(1, opening.Add(-100*day), 1))
			if c.age > 0 {
				r := rec(2, opening.Add(-c.age), 1)
				r.unsettled = true
				tr.consider(r)
			}
			tr.finish(opening, false)
			if got := opening.Sub(checkpointed(t, tr).WindowStart); got != c.want {
				t.Errorf("the window begins %v back, want %v", got, c.want)
			}
		})
	}
}

func checkpointed(t *testing.T, tr *tracker) state {
	t.Helper()
	raw, err := tr.checkpoint()
	if err != nil {
		t.Fatal(err)
	}
	s, ok := parseState(raw)
	if !ok {
		t.Fatalf("not a state: %s", raw)
	}
	return s
}
