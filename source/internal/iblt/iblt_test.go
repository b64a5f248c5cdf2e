package iblt

import (
	"bytes"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// Of a set of pairs some vanish, some are new and some change. The table tells
// all of them apart as long as few come and go.
func TestTableTellsTheDifference(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	rounds := testsize.Of(10, 50)
	for _, c := range []struct{ keys, changed, complete, exact int }{
		{0, 0, rounds, rounds},
		{0, 1, rounds, rounds},
		{0, 10, rounds, rounds - rounds/50},
		{0, 30, rounds, rounds - rounds/10},
		{1, 1, rounds, rounds},
		{10, 5, rounds - rounds/50, rounds - rounds/25},
		{20, 0, rounds - rounds/25, rounds - rounds/25},
		{30, 10, rounds - 3*rounds/50, rounds - rounds/5},
		{Capacity, 0, rounds - rounds/25, rounds - rounds/25},
		{0, Capacity, rounds, rounds - rounds/25},
		{0, 300, rounds, 0},
		{200, 0, 0, 0},
	} {
		complete, exact := 0, 0
		for range rounds {
			var table Table
			var pairs []Pair
			var gone, came, changed []Key
			for i := range 1500 + c.keys + c.changed {
				p := Pair{Value: r.Uint64()}
				for j := range p.Key {
					p.Key[j] = byte(r.Uint32())
				}
				switch {
				case i < c.keys && i%2 == 0:
					table.Insert(p)
					gone = append(gone, p.Key)
					continue
				case i < c.keys:
					came = append(came, p.Key)
				case i < c.keys+c.changed:
					table.Insert(Pair{p.Key, r.Uint64()})
					changed = append(changed, p.Key)
					pairs = append(pairs, p)
				default:
					table.Insert(p)
					pairs = append(pairs, p)
				}
				table.Delete(p)
			}
			inserted, deleted, ok := table.ListKeys()
			if !ok {
				continue
			}
			complete++
			if diff := cmp.Diff(sorted(gone), sorted(inserted)); diff != "" {
				t.Fatalf("keys inserted only (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(sorted(came), sorted(deleted)); diff != "" {
				t.Fatalf("keys deleted only (-want +got):\n%s", diff)
			}
			found, _ := table.Changed(pairs, slices.Concat(inserted, deleted))
			if len(found) == len(changed) {
				exact++
			}
			for _, k := range changed {
				if !slices.Contains(found, k) {
					t.Errorf("%+v: a pair that changed is not found", c)
				}
			}
		}
		if complete < c.complete || exact < c.exact || c.keys == 200 && complete > 0 {
			t.Errorf("%+v: %d complete and %d exact rounds of %d", c, complete, exact, rounds)
		}
	}
}

func sorted(list []Key) []Key {
	return slices.SortedFunc(slices.Values(list), func(a, b Key) int { return bytes.Compare(a[:], b[:]) })
}

func TestTableSurvivesItsText(t *testing.T) {
	var table Table
	for i := range uint64(500) {
		table.Insert(Pair{Value: i * 7919})
	}
	text, err := table.MarshalText()
	if err != nil {
		t.Fatal(err)
	}
	var back Table
	if err := back.UnmarshalText(text); err != nil || back != table {
		t.Errorf("another table came back (%v)", err)
	}
}
