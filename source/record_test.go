package main

import (
	"encoding/json"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
)

// Whatever record can be tracked, its tombstone is JSON.
func FuzzTombstone(f *testing.F) {
	f.Add([]byte(`{"id":1,"start":"2026-01-01T00:00:00.000Z","end":null,"score_state":"SCORED"}`))
	f.Add([]byte(`{"cycle_id":1,"created_at":"2026-01-01T00:00:00.000Z"}`))
	f.Add([]byte(`{"id":"ecfc6a15-4661-442f-a9a4-f160dd7afae8","start":"x"}`))
	f.Fuzz(func(t *testing.T, raw []byte) {
		if !json.Valid(raw) {
			return // the client has let none pass
		}
		for _, key := range []string{"id", "cycle_id"} {
			r := changes.ParseRecord(raw, key)
			if r.Untracked == "" && !json.Valid(tombstone(key, r.Key, r.Updated, r.Time)) {
				t.Errorf("the tombstone of %s is not JSON", raw)
			}
		}
	})
}
