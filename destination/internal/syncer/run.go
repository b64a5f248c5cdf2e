package syncer

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"runtime"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Config says how the input is written.
type Config struct {
	Commit      CommitLimits
	Completion  Completion
	Memory      Memory
	SignalDelay time.Duration // see [SignalDelay]
}

// Run writes the input into the tables of open streams. It is the way of every
// record:
//
//	input ─┬─ runs of records ──► N workers: parse into columns, write Parquet files
//	       │                                  │ at a STATE, when a commit is due
//	       └─ states, statuses ──► ledger ────┴──► committer: commit tables, echo states
//
// One goroutine follows the input in order. It commits a stream only where one
// of the stream's states stands, so that the rows of a snapshot are exactly
// those that its state covers.
func Run(ctx context.Context, config Config, streams Streams, states *checkpoint.Files, input io.Reader, out *protocol.Emitter) error {
	held := &heldStates{limit: config.Memory.bytes() / 16}
	w := &writer{
		held:    held,
		states:  states,
		config:  config,
		lanes:   streams,
		ledger:  newLedger(streams, held),
		out:     out,
		log:     out.Logger(),
		broken:  newBreakage(),
		long:    newLongMessages(),
		relayed: map[string]struct{}{},
	}
	var err error
	if w.number, err = streams.lastNumber(); err != nil {
		return err
	}
	return errors.Join(w.run(ctx, protocol.NewInput(input, w.log)), held.close())
}

// writer follows one input.
type writer struct {
	config  Config
	lanes   Streams
	ledger  *ledger
	held    *heldStates
	states  *checkpoint.Files
	out     *protocol.Emitter
	log     *slog.Logger
	workers []*worker
	broken  *breakage
	long    *longMessages
	group   *errgroup.Group
	relayed map[string]struct{} // errors of the source that people were told

	sequence   uint64     // of runs of records
	number     int64      // of the last commit
	committing chan error // how the commit in flight has ended; nil: there is none
	closed     *commit    // whose files are closed, and not committed yet
}

func (w *writer) run(ctx context.Context, in *protocol.Input) error {
	// What was received before an interruption is still committed as far as
	// states cover it, so the work does not end with ctx.
	group, working := errgroup.WithContext(context.WithoutCancel(ctx))
	w.group = group
	parallel := w.config.Memory.parallel(runtime.GOMAXPROCS(0))
	jobs := make(chan decodeJob, parallel)
	for range parallel {
		wk := newWorker(w.lanes, w.config.Memory.columnBudget(parallel), w.broken, w.long)
		w.workers = append(w.workers, wk)
		w.spawn(func() error { return wk.run(working, jobs) })
	}
	w.spawn(func() error {
		defer close(jobs)
		return w.follow(ctx, working, in, jobs)
	})
	err := group.Wait()
	for _, wk := range w.workers {
		err = errors.Join(err, wk.abort())
	}
	if w.closed != nil {
		err = errors.Join(err, w.closed.discard())
	}
	return err
}

// spawn runs a part of the work.
func (w *writer) spawn(part func() error) { w.group.Go(protocol.Recovered(part)) }

// lull is after how long without a message a state is taken for the last one
// for now.
const lull = 20 * time.Millisecond

// follow reads the input in order until it ends or ctx does.
func (w *writer) follow(ctx, working context.Context, in *protocol.Input, jobs chan<- decodeJob) error {
	items, over := pump(working, in, w.long)
	overdue := time.NewTicker(min(w.config.Commit.maxAge(), time.Second))
	defer overdue.Stop()
	quiet := time.NewTimer(lull)
	defer quiet.Stop()
	for {
		select {
		case <-working.Done():
			return context.Cause(working)
		case <-ctx.Done():
			return errors.Join(w.finish(working, interrupted), context.Cause(ctx))
		case <-w.broken.found:
			return w.finish(working, broken)
		case <-overdue.C:
			// A source that waits sends nothing for a while; what it has
			// covered by a state becomes visible all the same.
			if err := w.cutIfDue(working); err != nil {
				return err
			}
		case <-quiet.C: // the last state may have made a commit due
			if err := w.cutIfDue(working); err != nil {
				return err
			}
		case err := <-over:
			if errors.Is(err, io.EOF) {
				return w.end(ctx, working)
			}
			// What came before is as good as before any other end.
			return errors.Join(err, w.finish(working, broken))
		case item := <-items:
			if item.Records != nil {
				if err := w.cutIfDue(working); err != nil {
					return err
				}
			}
			if err := w.take(working, item, jobs); err != nil {
				return err
			}
			if item.State != nil {
				quiet.Reset(lull)
			}
		}
	}
}

// take does what one step of the input asks for.
func (w *writer) take(ctx context.Context, item protocol.Item, jobs chan<- decodeJob) error {
	switch {
	case item.Records != nil:
		w.sequence++
		job := decodeJob{records: item.Records, sequence: w.sequence, segment: w.ledger.records(item.Records)}
		select {
		case jobs <- job:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case item.State != nil:
		return w.ledger.state(*item.State)
	case item.Status != nil:
		if !w.ledger.proofs.status(*item.Status) {
			w.log.Warn("the input holds a status of a stream that is not in the catalog", "stream", item.Status.Stream.String())
		}
	case item.Failure != nil:
		w.ledger.proofs.fail(*item.Failure)
		w.relay(item.Failure.Message)
	case item.Log != nil:
		w.relay(item.Log.Message)
	}
	return nil
}

// relay says to people, once, what the source said of its failure: its messages
// end here.
func (w *writer) relay(message string) {
	if _, said := w.relayed[message]; said || len(w.relayed) == mostRelayed {
		return
	}
	w.relayed[message] = struct{}{}
	w.out.Relay("source", message)
}

// mostRelayed is how many different errors of a source people are told.
const mostRelayed = 20

// cutIfDue commits where a state stands, if a commit is due. Of states that come
// one after another, as from a source of many streams, it must be the last: each
// is of a stream that can be part of the commit.
func (w *writer) cutIfDue(ctx context.Context) error {
	if !w.ledger.atState || !w.ledger.due(w.config.Commit) {
		return nil
	}
	return w.cut(ctx)
}

// cut commits the streams that stand at one of their states.
func (w *writer) cut(ctx context.Context) error {
	if err := w.each(ctx, (*worker).idle); err != nil {
		return err
	}
	if w.broken.reported() {
		return nil // it is time to finish
	}
	c := w.ledger.cut()
	if len(c.lanes) == 0 {
		return nil
	}
	if err := w.collect(ctx, c); err != nil {
		return err
	}
	return w.start(ctx, c)
}

// start commits while the input is followed further, one commit at a time.
func (w *writer) start(ctx context.Context, c *commit) error {
	if err := w.settled(ctx); err != nil {
		return err
	}
	done := make(chan error, 1)
	w.committing, w.closed = done, nil
	w.spawn(func() error {
		err := w.commit(ctx, c)
		done <- err
		return err
	})
	return nil
}

// settled waits for the commit in flight. When that has failed it says so
// itself: ctx may end a moment later, and no other commit, whose state covers
// the rows of this one too, may come in between.
func (w *writer) settled(ctx context.Context) error {
	if w.committing == nil {
		return nil
	}
	select {
	case err := <-w.committing:
		w.committing = nil
		return err
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// finish commits what is left when the input is over, or cannot be read further,
// as far as it is proven, and reports the streams that were not received
// completely.
func (w *writer) finish(ctx context.Context, end inputEnd) error {
	if err := w.each(ctx, (*worker).idle); err != nil {
		return err
	}
	segment, bad := w.broken.first()
	if bad != nil {
		w.ledger.cutOff(segment)
		end = broken
	}
	c, decisions := w.ledger.finish(w.config.Completion, end)
	if err := w.collect(ctx, c); err != nil {
		return err
	}
	if err := w.settled(ctx); err != nil {
		return err
	}
	w.closed = nil
	if err := errors.Join(bad, w.commit(ctx, c)); err != nil {
		return err
	}
	failed := false
	for _, d := range decisions {
		if d.warning != "" {
			w.log.Warn(d.warning, "stream", d.lane.ID.String())
		}
		if d.err != nil {
			failed = true
			if err := w.out.Fail(d.lane.ID, d.err); err != nil {
				return err
			}
		}
	}
	if failed {
		return protocol.ErrStreamsFailed
	}
	return nil
}

// collect has the workers close the files of the commit's lanes.
func (w *writer) collect(ctx context.Context, c *commit) error {
	w.closed = c
	return w.each(ctx, func(wk *worker, ctx context.Context) error {
		for _, lc := range c.lanes {
			staged, err := wk.close(ctx, lc.lane, lc.upTo)
			if err != nil {
				return err
			}
			lc.add(staged)
		}
		return nil
	})
}

// each runs a task on every worker, between two of its jobs, and waits for all.
func (w *writer) each(ctx context.Context, task func(*worker, context.Context) error) error {
	done := make(chan error, len(w.workers))
	for _, wk := range w.workers {
		select {
		case wk.tasks <- func(ctx context.Context) error {
			err := task(wk, ctx)
			done <- err
			return err
		}:
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	for range w.workers {
		select {
		case err := <-done:
			if err != nil {
				return err
			}
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
	return nil
}

// SignalDelay is how long after the end of the input a signal may come that
// ended it: Ctrl-C stops both programs of a pipe, and the other one may be
// quicker.
const SignalDelay = 250 * time.Millisecond

// end finishes at the end of the input. Where it would have to be taken for the
// end of a stream, it first waits for a signal that may have come to both
// programs: then the source has not ended by itself.
func (w *writer) end(ctx, working context.Context) error {
	if !w.ledger.assumes() {
		return w.finish(working, ended)
	}
	select {
	case <-ctx.Done():
		return errors.Join(w.finish(working, stoppedAt), context.Cause(ctx))
	case <-working.Done():
		return context.Cause(working)
	case <-time.After(w.config.SignalDelay):
		return w.finish(working, ended)
	}
}
