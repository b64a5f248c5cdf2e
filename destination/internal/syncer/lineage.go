package syncer

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// warnOfOtherSources warns of streams whose first state of this sync does not look like the one
// that their table has: two sources with a stream of one name write into one table, unless
// the connections have names. No message of the protocol tells sources apart, and a
// source may change the form of its states, so this is no error.
func (r *run) warnOfOtherSources(ctx context.Context, plan *commitPlan) error {
	for _, t := range plan.tables {
		s := t.stream
		if s.compared || s.options.Connection != "" || t.state.stream == nil { // a state of all streams tells little about one
			continue
		}
		s.compared = true
		state, err := r.stateMessages.load(t.state.message)
		if err != nil {
			return err
		}
		had := lastStreamState(ctx, s, r.log)
		if haveNothingInCommon(had, state.StreamState()) {
			r.log.Warn(`the stream's state has no key in common with the one that its table had. If the source has only changed its states, nothing is wrong. `+
				`If two sources have a stream of this name, both write into one table: set another "namespace" for one of them, and a "connection" for each, so that the next such sync is refused`,
				"stream", s.ID.String(), "table", s.Table.String())
		}
	}
	return nil
}

// lastStreamState returns the stream_state that the stream's table had when it was opened; nil
// if there is none. Of a long one, which is in a file, nothing is said: it is not worth the request.
func lastStreamState(ctx context.Context, s *Stream, log *slog.Logger) json.RawMessage {
	raw, err := lake.LastState(ctx, s.Table.Opened())
	var stored checkpoint.Checkpoint
	if raw != nil && err == nil {
		stored, err = checkpoint.Parse(raw)
	}
	if err != nil {
		log.Debug("the state that the table had is not known", "stream", s.ID.String(), "error", err.Error())
		return nil
	}
	state, err := protocol.ParseState(stored.State)
	if err != nil {
		return nil // it is in a file, or there is none
	}
	return state.StreamState()
}

// haveNothingInCommon reports whether two states are objects without a common key. What every
// source writes of a full refresh tells nothing.
func haveNothingInCommon(a, b json.RawMessage) bool {
	var first, second map[string]json.RawMessage
	if json.Unmarshal(a, &first) != nil || json.Unmarshal(b, &second) != nil {
		return false
	}
	for _, keys := range []map[string]json.RawMessage{first, second} {
		delete(keys, "__ab_full_refresh_sync_complete")
		delete(keys, "__ab_no_cursor_state_message")
	}
	for key := range first {
		if _, ok := second[key]; ok {
			return false
		}
	}
	return len(first) > 0 && len(second) > 0
}
