package syncer

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

const badRecord = `{"type":"RECORD","record":{"stream":"a","emitted_at":1,"data":{"id":}}}`

func goodRecord(stream string) string {
	return fmt.Sprintf(`{"type":"RECORD","record":{"stream":%q,"emitted_at":1,"data":{"id":1}}}`, stream)
}

func streamState(stream string, n int) string {
	return fmt.Sprintf(`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":%q},"stream_state":{"n":%d}}}}`, stream, n)
}

// dispatchLines dispatches messages, one a line, and returns the jobs that workers would do.
func (r *run) dispatchLines(t *testing.T, lines ...string) chan decodeJob {
	t.Helper()
	jobs := make(chan decodeJob, len(lines))
	in := protocol.NewInput(strings.NewReader(strings.Join(lines, "\n")+"\n"), r.log)
	for {
		item, err := in.Next()
		if err != nil {
			return jobs
		}
		if err := r.dispatch(t.Context(), item, jobs); err != nil {
			t.Fatal(err)
		}
	}
}

// addWorker adds a worker that is in no goroutine yet.
func (r *run) addWorker() *worker {
	w := newWorker(r.streams, 1<<20, r.firstBad, r.longMessages)
	r.workers = append(r.workers, w)
	return w
}

// echoed returns the states in a run's output, as the platform is sent them.
func echoed(out *bytes.Buffer) (states []string) {
	for line := range strings.Lines(out.String()) {
		if strings.Contains(line, `"STATE"`) {
			states = append(states, strings.TrimSpace(line))
		}
	}
	return states
}

// withRows is a state as it is echoed.
func withRows(state string, rows int) string {
	return strings.TrimSuffix(state, "}}") + fmt.Sprintf(`,"destinationStats":{"recordCount":%d.0}}}`, rows)
}

// endsAt makes the final commit. The run must end at the message that the error names, with the
// first state echoed and no other.
func (r *run) endsAt(t *testing.T, out *bytes.Buffer, jobs chan decodeJob, message string) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	for _, w := range r.workers {
		r.spawn(func() error { return w.run(ctx, jobs) })
	}
	err := r.commitFinal(t.Context(), inputEnded)
	stop()
	if err == nil || !strings.Contains(err.Error(), message) {
		t.Errorf("error %v", err)
	}
	if err := errors.Join(r.group.Wait(), r.workers.discardFiles()); err != nil {
		t.Error(err)
	}
	if diff := cmp.Diff([]string{withRows(streamState("a", 1), 1)}, echoed(out)); diff != "" {
		t.Errorf("echoed (-want +got):\n%s", diff)
	}
}

// Workers come upon bad records in any order. What counts is the first of the input.
func TestTheFirstBadRecordOfTheInputCounts(t *testing.T) {
	r, out := newTestRun(t, sameCatalog)
	jobs := r.dispatchLines(t,
		goodRecord("a"), streamState("a", 1),
		badRecord, streamState("a", 2),
		goodRecord("a"), streamState("a", 3),
		badRecord, streamState("a", 4))
	good, first, between, second := <-jobs, <-jobs, <-jobs, <-jobs
	late, early := r.addWorker(), r.addWorker()
	for _, do := range []struct {
		by  *worker
		job decodeJob
	}{{early, second}, {early, between}, {late, good}, {late, first}} {
		if err := do.by.decode(t.Context(), do.job); err != nil {
			t.Fatal(err)
		}
	}
	r.endsAt(t, out, nil, "Line 3 of the input")
}

// A bad record is found only when the workers have decoded it, which may be when the state after it makes a commit due.
func TestAStateAfterABadRecordIsNotCommitted(t *testing.T) {
	r, out := newTestRun(t, sameCatalog) // each row makes a commit due
	jobs := r.dispatchLines(t, goodRecord("a"), badRecord, streamState("a", 1))
	ctx, stop := context.WithCancel(t.Context())
	w := r.addWorker()
	r.spawn(func() error { return w.run(ctx, jobs) })
	if !r.checkpoints.limitReached(r.config.Commit) {
		t.Error("no commit is due")
	}
	err := r.commitIfDue(t.Context())
	stop()
	if err := errors.Join(err, r.group.Wait(), r.workers.discardFiles()); err != nil {
		t.Error(err)
	}
	if states := echoed(out); len(states) > 0 || r.commitNumber > 0 {
		t.Errorf("%d commits, and the states %q", r.commitNumber, states)
	}
}

// A bad state is found at once, and a bad record before it later.
func TestABadRecordBeforeABadStateCounts(t *testing.T) {
	r, out := newTestRun(t, sameCatalog)
	jobs := r.dispatchLines(t, goodRecord("a"), streamState("a", 1), badRecord, streamState("a", 2), streamState("nap", 3))
	if !r.firstBad.reported() {
		t.Fatal("the state of an unknown stream is not bad")
	}
	r.addWorker()
	r.endsAt(t, out, jobs, "Line 3 of the input")
}

// What comes after a bad state is read for a while, and its states cover nothing.
func TestStatesAfterABadStateAreNotEchoed(t *testing.T) {
	r, out := newTestRun(t, sameCatalog)
	jobs := r.dispatchLines(t, goodRecord("a"), streamState("a", 1), goodRecord("a"), streamState("nap", 2), streamState("a", 3), goodRecord("a"), streamState("a", 4))
	r.addWorker()
	r.endsAt(t, out, jobs, "stream nap")
}
