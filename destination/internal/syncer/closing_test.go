package syncer

import (
	"context"
	"errors"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

// slowFiles are files that are not safe before somebody says so.
type slowFiles struct {
	iceio.WriteFileIO
	safe chan struct{}
}

func (f slowFiles) Create(name string) (iceio.FileWriter, error) {
	w, err := f.WriteFileIO.Create(name)
	return slowFile{w, f.safe}, err
}

type slowFile struct {
	iceio.FileWriter
	safe chan struct{}
}

func (f slowFile) Close() error {
	<-f.safe
	return f.FileWriter.Close()
}

// startWorker starts a worker that is sent jobs.
func (r *run) startWorker(ctx context.Context, jobs chan decodeJob) *worker {
	w := r.addWorker()
	r.spawn(func() error { return w.run(ctx, jobs) })
	return w
}

// A storage may take long to have files safe. Workers decode the next records meanwhile, which are
// not in the commit.
func TestWorkersDecodeWhileTheStorageTakesFiles(t *testing.T) {
	r, _ := newTestRun(t, sameCatalog)
	stream := r.streams.all[0]
	slow := slowFiles{stream.Table.Storage().Files, make(chan struct{})}
	stream.Table.Storage().Files = slow
	jobs := make(chan decodeJob)
	w := r.startWorker(t.Context(), jobs)
	jobs <- decodeJob{records: recordsOf(t, "a", 0, 10), sequence: 1, segment: 1}
	commit := &tableCommit{stream: stream, upTo: 1}
	closed, err := r.closeFiles(t.Context(), &commitPlan{tables: []*tableCommit{commit}})
	if err != nil {
		t.Fatal(err)
	}
	jobs <- decodeJob{records: recordsOf(t, "a", 10, 5), sequence: 2, segment: 2}
	if err := r.workers.each(t.Context(), (*worker).drain); err != nil {
		t.Fatal(err)
	}
	if rows := w.buffers[""]["a"].rows; rows != 5 {
		t.Errorf("%d rows were decoded for the next commit, want 5", rows)
	}
	close(slow.safe)
	if err := closed(); err != nil {
		t.Fatal(err)
	}
	laketest.Commit(t, stream.Table, `{}`, commit.staged...)
	if rows := len(laketest.Rows(t, laketest.Load(t, stream.Table))); rows != 10 {
		t.Errorf("%d rows were committed, want 10", rows)
	}
	close(jobs)
	if err := errors.Join(r.group.Wait(), r.workers.discardFiles()); err != nil {
		t.Error(err)
	}
}

// Without a COMPLETE status, the end of the input is no proof until it is sure that no signal has
// caused it. What states cover is committed meanwhile.
func TestWhatStatesCoverIsCommittedAtTheEndAtOnce(t *testing.T) {
	r, out := newTestRun(t, sameCatalog)
	r.config.SignalDelay = time.Hour
	committed := make(chan struct{}, 2)
	r.config.Committed = func([]*lake.Table) { committed <- struct{}{} }
	jobs := r.dispatchLines(t, goodRecord("a"), streamState("a", 1), goodRecord("b"))
	r.startWorker(t.Context(), jobs)
	stop, signal := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- r.commitAtEOF(stop, t.Context()) }()
	<-committed
	signal()
	if err := <-ended; !errors.Is(err, context.Canceled) {
		t.Errorf("error %v", err)
	}
	close(jobs)
	if err := errors.Join(r.group.Wait(), r.workers.discardFiles()); err != nil {
		t.Error(err)
	}
	if got := echoed(out); len(got) != 1 || got[0] != withRows(streamState("a", 1), 1) {
		t.Errorf("echoed %s", got)
	}
}
