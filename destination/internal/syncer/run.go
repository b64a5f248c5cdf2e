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
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Run writes the input into the tables of open streams, and echoes its states to
// out. Long states are stored in stateFiles. After ctx is done it reads no more,
// commits what states cover, and returns the cause.
func Run(ctx context.Context, config Config, streams Streams, stateFiles *checkpoint.Files, input io.Reader, out *protocol.Emitter) error {
	messages := &stateMessages{limit: config.Memory.bytes() / 16, dir: config.Scratch}
	r := &run{
		config:        config,
		streams:       streams,
		checkpoints:   newCheckpoints(streams, messages),
		stateMessages: messages,
		stateFiles:    stateFiles,
		out:           out,
		log:           out.Logger(),
		firstBad:      newFirstBad(),
		longMessages:  newLongMessages(),
		relayed:       map[string]struct{}{},
		unknown:       map[protocol.StreamID]struct{}{},
	}
	var err error
	if r.commitNumber, err = streams.lastCommitNumber(); err != nil {
		return err
	}
	return errors.Join(r.execute(ctx, protocol.NewInput(input, r.log)), messages.close())
}

// run is the state of one sync.
type run struct {
	config        Config
	streams       Streams
	checkpoints   *checkpoints
	stateMessages *stateMessages
	stateFiles    *checkpoint.Files
	out           *protocol.Emitter
	log           *slog.Logger
	workers       workers
	firstBad      *firstBad     // the first record or state that cannot be right; it ends the sync
	longMessages  *longMessages // bytes that readAhead waits for
	group         *errgroup.Group
	relayed       map[string]struct{}            // errors of the source that the user was shown
	unknown       map[protocol.StreamID]struct{} // streams with a status, not in the catalog, that the user was warned of

	sequence     uint64        // number of the last item of the input that was a batch of records or a state
	commitNumber int64         // number of the last commit
	shared       *sharedStates // nil: no state that covers all streams is committed yet
	committing   chan error    // receives the result of the commit in flight; nil: there is none
	plans        []*commitPlan // that of the commit in flight, and one whose files are being closed
}

// execute starts the workers, reads the input, and waits for both. Two contexts
// go through a sync: stop is done when the user wants it to end, and ctx when
// nothing more can be committed. After stop, what states cover is still
// committed.
func (r *run) execute(stop context.Context, in *protocol.Input) error {
	group, ctx := errgroup.WithContext(context.WithoutCancel(stop))
	r.group = group
	parallel := r.config.Memory.parallel(runtime.GOMAXPROCS(0))
	jobs := make(chan decodeJob, parallel)
	for range parallel {
		w := newWorker(r.streams, r.config.Memory.columnBytes(parallel), r.firstBad, r.longMessages)
		r.workers = append(r.workers, w)
		r.spawn(func() error { return w.run(ctx, jobs) })
	}
	r.spawn(func() error {
		defer close(jobs)
		return r.readInput(stop, ctx, in, jobs)
	})
	err := errors.Join(group.Wait(), r.workers.discardFiles())
	for _, plan := range r.plans {
		if !plan.started {
			err = errors.Join(err, plan.discardFiles())
		}
	}
	return err
}

// spawn runs a part of the sync in a goroutine. Its error ends the sync.
func (r *run) spawn(part func() error) { r.group.Go(goroutine.Recovered(part)) }

// stateQuietPeriod is how long no other state must follow a state before it counts
// as the last of several.
const stateQuietPeriod = 20 * time.Millisecond

// readInput reads the input in order until it ends or stop is done. What readAhead
// (readahead.go) received goes to dispatch; the last commit is made in final.go.
func (r *run) readInput(stop, ctx context.Context, in *protocol.Input, jobs chan<- decodeJob) error {
	items, ended := readAhead(ctx, in, r.longMessages)
	age := time.NewTicker(min(r.config.Commit.maxAge(), time.Second))
	defer age.Stop()
	quiet := time.NewTimer(stateQuietPeriod)
	defer quiet.Stop()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-stop.Done():
			return errors.Join(r.commitFinal(ctx, stoppedEarly), context.Cause(stop))
		case <-r.firstBad.found:
			return r.commitFinal(ctx, unreadable)
		case <-age.C:
			// A source that waits for its API sends nothing for a while. Rows that
			// it has covered by a state become visible all the same.
			if err := r.commitIfDue(ctx); err != nil {
				return err
			}
		case <-quiet.C: // the last state may have made a commit due
			if err := r.commitIfDue(ctx); err != nil {
				return err
			}
		case err := <-ended:
			if errors.Is(err, io.EOF) {
				return r.commitAtEOF(stop, ctx)
			}
			// What came before the error is committed as at any other end.
			return errors.Join(err, r.commitFinal(ctx, unreadable))
		case item := <-items:
			if item.Records != nil {
				if err := r.commitIfDue(ctx); err != nil {
					return err
				}
			}
			if err := r.dispatch(ctx, item, jobs); err != nil {
				return err
			}
			if item.State != nil {
				quiet.Reset(stateQuietPeriod)
			}
		}
	}
}

// dispatch gives records to a worker, and notes every other message.
func (r *run) dispatch(ctx context.Context, item protocol.Item, jobs chan<- decodeJob) error {
	switch {
	case item.Records != nil:
		r.sequence++
		r.out.Progress().Records(item.Records.Count)
		job := decodeJob{records: item.Records, sequence: r.sequence, segment: r.checkpoints.addRecords(item.Records)}
		select {
		case jobs <- job:
			return nil
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	case item.State != nil:
		r.sequence++
		if err := r.checkpoints.addState(*item.State); err != nil {
			r.firstBad.report(r.sequence, r.checkpoints.segment, err)
		}
	case item.Status != nil:
		before := r.checkpoints.proofs.of(item.Status.Stream).status // progress counts a stream once
		if !r.checkpoints.addStatus(*item.Status) {
			r.warnOfUnknown(item.Status.Stream)
		} else if item.Status.Status == protocol.Complete && before != protocol.Complete {
			r.out.Progress().Add("streams", 1)
		}
	case item.Failure != nil:
		r.checkpoints.proofs.addFailure(*item.Failure)
		r.relayOnce(item.Failure.Message, item.Failure.ShownOn)
	case item.Log != nil:
		r.relayOnce(item.Log.Message, "")
	}
	return nil
}
