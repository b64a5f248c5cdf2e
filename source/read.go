package main

import (
	"context"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/nearest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Read reads the configured streams. Objects come first. Then each collection is
// walked once, oldest records first, and each record goes to the readers of all
// streams that need the collection. Only requests run at once; one goroutine emits,
// because the API's limits leave nothing to gain from more.
//
// The way of a record: readWalks (walk.go) fetches a slice of a collection (fetch.go) and
// delivers its records to the readers (reader.go). Each reader asks its changes.Tracker
// whether a record is new or has changed, emits it, and after the slice emits a state.
func (s *source) Read(ctx context.Context, job protocol.ReadJob, out *protocol.Emitter) error {
	session, err := s.open(job.Config, out)
	if err != nil {
		return err
	}
	r := &run{session: session}
	if err := r.addReaders(job.Catalog); err != nil {
		return err
	}
	if len(r.readers) > 0 {
		if err := r.read(ctx, job.States); err != nil {
			return explain(err, nil)
		}
	}
	if r.failed {
		return protocol.ErrStreamsFailed
	}
	return nil
}

// A run is one read.
type run struct {
	session *session
	readers []*reader
	failed  bool      // at least one stream has failed
	end     time.Time // up to which the run reads, on WHOOP's clock
	oldest  time.Time // a guess at when the member's history begins; zero: none yet

	mu sync.Mutex // guards the readers' lastState, and is held while one is written
}

// addReaders adds a reader for each configured stream. A stream or sync mode that
// does not exist fails only its own stream.
func (r *run) addReaders(catalog protocol.ConfiguredCatalog) error {
	for _, c := range catalog.Streams {
		id := c.ID()
		i := slices.IndexFunc(streams, func(s stream) bool { return s.id() == id })
		switch {
		case i < 0:
			if err := r.fail(id, protocol.ConfigError.Errorf(nil, "There is no stream %q.%s There are: %s.", id, nearest.DidYouMean(id.Name, streamNames()), strings.Join(streamNames(), ", "))); err != nil {
				return err
			}
			continue
		case c.SyncMode == protocol.Incremental && !streams[i].incremental():
			// Some clients, PyAirbyte among them, ask for it whatever the stream can.
			r.session.out.Logger().Info("the stream has no incremental mode and is read in full", "stream", id.String())
			c.SyncMode = protocol.FullRefresh
		case c.SyncMode != protocol.FullRefresh && c.SyncMode != protocol.Incremental:
			if err := r.fail(id, protocol.ConfigError.Errorf(nil, "The stream %s has no sync mode %q. Write full_refresh or incremental.", id, c.SyncMode)); err != nil {
				return err
			}
			continue
		}
		if err := r.session.out.Status(id, protocol.Started); err != nil {
			return outputError{err}
		}
		r.readers = append(r.readers, newReader(r, streams[i], c.SyncMode))
	}
	return nil
}

func (r *run) read(ctx context.Context, states []protocol.State) error {
	r.session.onWait = r.rateLimited
	if err := r.session.connect(ctx); err != nil {
		return err
	}
	if err := r.session.identify(ctx); err != nil {
		return err
	}
	if err := r.session.checkMember(states); err != nil {
		return err
	}
	r.end = r.session.client.Now().Truncate(time.Millisecond)
	if err := r.readObjects(ctx); err != nil {
		return err
	}
	byCollection, err := r.startReaders(ctx, states)
	if err != nil {
		return err
	}
	var walks []*walk
	for _, collection := range collections() {
		readers := byCollection[collection]
		if len(readers) == 0 {
			continue
		}
		w, err := r.newWalk(ctx, collection, readers)
		if err != nil {
			if err := r.failStreams(ctx, readers, err); err != nil {
				return err
			}
			continue
		}
		walks = append(walks, w)
	}
	return r.readWalks(ctx, walks)
}

// readObjects reads the streams that are single objects.
func (r *run) readObjects(ctx context.Context) error {
	for _, rd := range r.readers {
		if rd.stream.object != "" {
			if err := r.failStream(ctx, rd, rd.readObject(ctx)); err != nil {
				return err
			}
		}
	}
	return nil
}

// startReaders decides from the states where each stream starts, and returns the
// readers by the collection that is walked for them: that of their rows, or of the rows'
// parents if each row is requested (drilldown.go). If one stream needs a full walk of a
// collection, all incremental streams of the collection take part. Otherwise a run that
// was interrupted between two of them would leave their full walks on different days,
// and the collection would be walked for each.
func (r *run) startReaders(ctx context.Context, states []protocol.State) (map[string][]*reader, error) {
	for _, s := range states {
		if s.Type != protocol.StreamState {
			r.session.out.Logger().Warn("the state file holds a state that this source did not write and does not use: pass it what the destination's state command prints", "type", string(s.Type))
		}
	}
	var started []*reader
	walkDue := map[string]bool{} // for any of its streams, by collection
	for _, rd := range r.readers {
		if rd.stream.object != "" {
			continue
		}
		if err := r.failStream(ctx, rd, rd.start(states)); err != nil {
			return nil, err
		}
		if !rd.done {
			started = append(started, rd)
			walkDue[rd.stream.collection] = walkDue[rd.stream.collection] || rd.walkDue
		}
	}
	byCollection := map[string][]*reader{}
	for _, rd := range started {
		if rd.mode == protocol.Incremental {
			rd.fullWalk = walkDue[rd.stream.collection] && !rd.state.Until.IsZero() // the first read has nothing to compare
			rd.startTracking()
		}
		collection := rd.walkedCollection()
		byCollection[collection] = append(byCollection[collection], rd)
	}
	return byCollection, nil
}

// failStream ends a stream with err, if there is one and the stream is not done. The error
// that it returns ends the run.
func (r *run) failStream(ctx context.Context, rd *reader, err error) error {
	if err == nil || rd.done {
		return nil
	}
	if end := runError(ctx, err); end != nil {
		return end
	}
	rd.done = true
	return r.fail(rd.stream.id(), explain(err, rd.stream.scopes))
}

func (r *run) failStreams(ctx context.Context, readers []*reader, err error) error {
	for _, rd := range readers {
		if err := r.failStream(ctx, rd, err); err != nil {
			return err
		}
	}
	return nil
}

func (r *run) fail(id protocol.StreamID, err error) error {
	r.failed = true
	if err := r.session.out.Fail(id, err); err != nil {
		return outputError{err}
	}
	return nil
}

// rateLimited reports that the run waits for quota. It repeats the last state of
// each stream, because orchestrators take only records and states as signs of life.
// A state covers what precedes it, so it is not repeated after a record: whoever
// resumed from it would get that record again. An error ends the run.
func (r *run) rateLimited(until time.Time) error {
	r.session.out.Progress().Waiting("WHOOP's request quota", until)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rd := range r.readers {
		_ = r.session.out.RateLimited(rd.stream.id(), until)
		if rd.lastState != nil {
			_ = r.session.out.State(protocol.NewStreamState(rd.stream.id(), rd.lastState)) // an error if the stream is done
		}
	}
	if err := r.session.out.Flush(); err != nil { // that of any message before
		return outputError{err}
	}
	return nil
}
