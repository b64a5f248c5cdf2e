package sandbox

import (
	"bytes"
	"maps"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// What a reader that applies changes step by step ends with is the truth.
func TestChangesLeadFromOneInstantToTheNext(t *testing.T) {
	t.Parallel()
	const age = 100 * day
	clock := NewClock(noon.Add(-age))
	o := New(Config{Seed: 14, Clock: clock}).Oracle()
	clock.Advance(age)
	for _, stream := range member.Streams {
		at := noon.Add(-time.Duration(testsize.Of(20, 60)) * day)
		held := o.Records(stream, at)
		upserted, deleted := 0, 0
		for at.Before(noon) {
			next := at.Add(121 * time.Hour)
			c := o.Changes(stream, at, next)
			for _, key := range c.Deleted {
				if _, ok := held[key]; !ok {
					t.Errorf("%s: %s was deleted and is not held", stream, key)
				}
				delete(held, key)
			}
			for key, record := range c.Upserted {
				if bytes.Equal(held[key], record) {
					t.Errorf("%s: %s did not change", stream, key)
				}
			}
			maps.Copy(held, c.Upserted)
			upserted, deleted, at = upserted+len(c.Upserted), deleted+len(c.Deleted), next
		}
		if diff := cmp.Diff(texts(o.Records(stream, at)), texts(held)); diff != "" {
			t.Errorf("%s (-truth +held):\n%s", stream, diff)
		}
		if upserted == 0 && stream != "profile" {
			t.Errorf("%s: nothing changed", stream)
		}
	}
}

func TestNothingChangesInAnInstant(t *testing.T) {
	o := New(Config{Seed: 1, Years: 1, Clock: NewClock(noon)}).Oracle()
	for _, stream := range member.Streams {
		if c := o.Changes(stream, noon, noon); len(c.Upserted)+len(c.Deleted) > 0 {
			t.Errorf("%s: %+v", stream, c)
		}
	}
}

func TestOracleKnowsOnlyItsStreams(t *testing.T) {
	defer func() {
		if recover() == nil {
			t.Error("an unknown stream has records")
		}
	}()
	New(Config{}).Oracle().Records("steps", noon)
}
