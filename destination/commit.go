package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

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
	lane    *lane
	upTo    int64 // the last segment whose rows it holds
	rows    int64
	state   protocol.State // the last one covered; without Raw: none
	replace bool           // the table holds only these rows afterwards
	finish  bool           // the refresh is complete: older generations go

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
		errs = append(errs, lake.Discard(lc.lane.table, lc.staged))
	}
	return errors.Join(errs...)
}

// An echo is a state to repeat once the tables of its lanes are committed.
type echo struct {
	state   protocol.State
	lanes   []*lane
	written int64
}

// A checkpoint is what a table keeps as its state: the message, and which
// commit it was part of. The number orders the copies of a state that covers
// several tables when a crash came between their commits; the time, which a
// clock may set back, only tells people.
type checkpoint struct {
	Number    int64           `json:"number"` // higher than of any commit before
	Committed time.Time       `json:"committed"`
	State     json.RawMessage `json:"state"`
}

func (c checkpoint) before(other checkpoint) bool {
	return cmp.Or(cmp.Compare(c.Number, other.Number), c.Committed.Compare(other.Committed)) < 0
}

// lastNumber is the highest number among the checkpoints of the lanes' tables.
func (ls lanes) lastNumber() (int64, error) {
	var last int64
	for _, l := range ls.all {
		for _, raw := range l.table.States() {
			var c checkpoint
			if err := json.Unmarshal(raw, &c); err != nil {
				return 0, fmt.Errorf("reading the state of stream %s: %w", l.id, err)
			}
			last = max(last, c.Number)
		}
	}
	return last, nil
}

func (c checkpoint) encode() (json.RawMessage, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(c); err != nil {
		return nil, fmt.Errorf("encoding the checkpoint: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}

// tablesAtOnce is how many tables commit at the same time; a commit waits for
// storage and catalog most of its time.
const tablesAtOnce = 4

// commit commits every lane and echoes the states whose lanes have landed,
// also when others failed: what is durable may be acknowledged.
func (w *writer) commit(ctx context.Context, c *commit) error {
	w.number++
	mark := checkpoint{Number: w.number, Committed: time.Now().UTC()}
	atOnce := make(chan struct{}, tablesAtOnce)
	ended := make([]<-chan error, len(c.lanes))
	for i, lc := range c.lanes {
		ended[i] = protocol.Go(func() error {
			atOnce <- struct{}{}
			defer func() { <-atOnce }()
			return lc.commit(ctx, mark)
		})
	}
	errs := make([]error, len(c.lanes))
	done := map[*lane]bool{}
	for i, lc := range c.lanes {
		if errs[i] = <-ended[i]; errs[i] != nil {
			errs[i] = fmt.Errorf("committing stream %s: %w", lc.lane.id, errs[i])
		}
		done[lc.lane] = errs[i] == nil
	}
	err := errors.Join(errs...)
	for _, e := range c.echoes {
		if !all(e.lanes, done) {
			continue
		}
		if echoErr := w.out.Echo(e.state, e.written, 0); echoErr != nil && err == nil {
			err = echoErr
		}
	}
	return err
}

func all(ls []*lane, done map[*lane]bool) bool {
	for _, l := range ls {
		if !done[l] {
			return false
		}
	}
	return true
}

// commit commits the lane's part, with its state in the checkpoint.
func (c *laneCommit) commit(ctx context.Context, mark checkpoint) error {
	var state json.RawMessage
	if mark.State = c.state.Raw; mark.State != nil {
		var err error
		if state, err = mark.encode(); err != nil {
			return err
		}
	}
	switch {
	case c.replace:
		return c.lane.table.Replace(ctx, c.staged, state)
	case len(c.staged) > 0 || state != nil:
		if err := c.lane.table.Commit(ctx, c.staged, state); err != nil {
			return err
		}
	}
	if c.finish {
		return c.lane.table.Finish(ctx, state)
	}
	return nil
}
