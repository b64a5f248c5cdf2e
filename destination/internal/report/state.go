package report

import (
	"bytes"
	"context"
	"encoding/json"
	"strings"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
)

const (
	// shownState is how many bytes of a state a page shows.
	shownState = 8 << 10
	// keptState is how many it takes to remove the secrets from those.
	keptState = 64 << 10
)

// A State is the last state that a table has.
type State struct {
	Committed time.Time
	Text      string // JSON, or the beginning of it
	Size      int64  // of all of it
	Cut       bool
}

// stateOf is the state of the rows that readers see, nil if there is none.
func stateOf(ctx context.Context, tbl *table.Table) (*State, error) {
	raw, err := lake.LastState(ctx, tbl)
	if raw == nil || err != nil {
		return nil, err
	}
	stored, err := checkpoint.Parse(raw)
	if err != nil {
		return nil, err
	}
	files, err := tbl.FS(ctx)
	if err != nil {
		return nil, err
	}
	if stored, err = stored.Load(files); err != nil {
		return nil, err
	}
	var text bytes.Buffer
	if err := json.Indent(&text, stored.State, "", "  "); err != nil {
		return nil, err
	}
	of := &State{Committed: stored.Committed.UTC(), Size: int64(text.Len())}
	of.Text = string(text.Bytes()[:min(text.Len(), keptState)])
	return of, nil
}

// cut leaves the beginning of a long state. Secrets are removed before: half of one is not
// recognised.
func (s *State) cut() {
	if s == nil || len(s.Text) <= shownState {
		return
	}
	s.Text, s.Cut = strings.ToValidUTF8(s.Text[:shownState], ""), true
}
