package main

import (
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
)

// The costs that are printed are those of the sandbox's member.
func TestCostsOfTheStreams(t *testing.T) {
	t.Parallel()
	for i, s := range streams {
		if i%testsize.Of(3, 1) > 0 {
			continue // those that are left are of every kind
		}
		t.Run(s.name, func(t *testing.T) {
			t.Parallel()
			want := map[string]int{config.Derive: objectCost, config.Request: objectCost}
			if s.incremental() {
				want = map[string]int{config.Derive: walkCost, config.Request: walkCost}
			}
			if s.child != "" {
				want[config.Request] += costDays
			}
			for drilldowns, want := range want {
				w := newWorld(t, sandbox.Config{Seed: 5, Years: 2}, map[string]any{"drilldowns": drilldowns})
				w.sync(catalog(t, protocol.Incremental, s.name))
				got := 0
				for _, n := range w.server.Audit().Requests {
					got += n
				}
				if s.incremental() {
					got-- // the profile, at the start of every run
				}
				if tolerable := 2 + want/10; got < want-tolerable || got > want+tolerable {
					t.Errorf("%s: %d requests, want about %d", drilldowns, got, want)
				}
			}
		})
	}
}
