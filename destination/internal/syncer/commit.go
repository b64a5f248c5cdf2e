package syncer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A commit makes rows visible and their states durable, then echoes the
// states.
type commit struct {
	lanes  []*laneCommit
	echoes []echo // in the order of the input
}

// laneCommit is one table's part: one snapshot with the state in it.
type laneCommit struct {
	lane    *Stream
	upTo    int64 // the last segment whose rows it holds
	rows    int64
	state   stateMark // the last one covered; zero: none
	replace bool      // the table holds only these rows afterwards
	finish  bool      // the refresh is complete: older generations go

	mu     sync.Mutex
	staged []*lake.Staged
}

func (c *laneCommit) add(s *lake.Staged) {
	if s == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.staged = append(c.staged, s)
}

// discard deletes the files of a commit that is not made.
func (c *commit) discard() error {
	var errs []error
	for _, lc := range c.lanes {
		errs = append(errs, lake.Discard(lc.lane.Table, lc.staged))
	}
	return errors.Join(errs...)
}

// An echo is a state to repeat once the tables of its lanes are committed.
type echo struct {
	state   heldState
	lanes   []*Stream
	written int64
}

// lastNumber is the highest number among the checkpoints that the lanes' tables
// have and had.
func (ls Streams) lastNumber() (int64, error) {
	var last int64
	for _, l := range ls.all {
		for _, raw := range l.Table.States() {
			c, err := checkpoint.Parse(raw)
			if err != nil {
				return 0, fmt.Errorf("stream %s: %w", l.ID, err)
			}
			last = max(last, c.Number)
		}
	}
	return last, nil
}

// tablesAtOnce is how many tables commit at the same time; a commit waits for
// storage and catalog most of its time.
const tablesAtOnce = 4

// commit commits every lane and echoes the states whose lanes have landed,
// also when others failed: what is durable may be acknowledged.
func (w *writer) commit(ctx context.Context, c *commit) error {
	w.number++
	states := w.checkpoints(c)
	atOnce := make(chan struct{}, tablesAtOnce)
	ended := make([]<-chan error, len(c.lanes))
	for i, lc := range c.lanes {
		ended[i] = protocol.Go(func() error {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			return lc.commit(ctx, states[lc.state.segment])
		})
	}
	errs := make([]error, len(c.lanes))
	done := map[*Stream]bool{}
	for i, lc := range c.lanes {
		if errs[i] = <-ended[i]; errs[i] != nil {
			errs[i] = fmt.Errorf("committing stream %s: %w", lc.lane.ID, errs[i])
		}
		done[lc.lane] = errs[i] == nil
	}
	err := errors.Join(errs...)
	for _, e := range c.echoes {
		if !all(e.lanes, done) {
			continue
		}
		if echoErr := w.echo(e); echoErr != nil && err == nil {
			err = echoErr
		}
	}
	return err
}

func (w *writer) echo(e echo) error {
	state, err := w.held.whole(e.state)
	if err != nil {
		return err
	}
	return errors.Join(w.out.Echo(state, e.written, 0), w.held.release(e.state))
}

func all(ls []*Stream, done map[*Stream]bool) bool {
	for _, l := range ls {
		if !done[l] {
			return false
		}
	}
	return true
}

// checkpoints make the states of a commit as its tables keep them, by the segment
// that each ends, each once: when the first of its tables asks. A long one is in a
// file then, which is durable before any of them names it.
func (w *writer) checkpoints(c *commit) map[int64]func() (json.RawMessage, error) {
	tables := map[int64][]string{}
	made := map[int64]func() (json.RawMessage, error){}
	number, now := w.number, time.Now().UTC()
	for _, lc := range c.lanes {
		segment := lc.state.segment
		if segment == 0 {
			continue
		}
		tables[segment] = append(tables[segment], lc.lane.Table.MetadataDir())
		made[segment] = sync.OnceValues(func() (json.RawMessage, error) {
			state, err := w.held.whole(lc.state.state)
			if err != nil {
				return nil, err
			}
			kept, err := w.states.Keep(checkpoint.Checkpoint{Number: number, Committed: now, State: state.Raw}, tables[segment])
			if err != nil {
				return nil, err
			}
			return kept.Encode()
		})
	}
	return made
}

// commit commits the lane's part, with the state that covers it; nil: none does.
func (c *laneCommit) commit(ctx context.Context, covers func() (json.RawMessage, error)) error {
	var state json.RawMessage
	if covers != nil {
		var err error
		if state, err = covers(); err != nil {
			return errors.Join(c.lane.Table.Explain(err), lake.Discard(c.lane.Table, c.staged))
		}
	}
	switch {
	case c.replace:
		return c.lane.Table.Replace(ctx, c.staged, state)
	case len(c.staged) > 0 || state != nil:
		if err := c.lane.Table.Commit(ctx, c.staged, state); err != nil {
			return err
		}
	}
	if c.finish {
		return c.lane.Table.Finish(ctx, state)
	}
	return nil
}
