package main

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Read reads the configured streams one after the other: the API's limits leave
// nothing to gain from emitting them at once. Streams that need the same
// collection share one walk over it.
func (s *source) Read(ctx context.Context, job protocol.ReadJob, out *protocol.Emitter) error {
	ses, err := s.open(job.Config, out)
	if err != nil {
		return err
	}
	run := &run{session: ses}
	if err := run.choose(job.Catalog); err != nil {
		return err
	}
	if len(run.readers) > 0 {
		if err := run.read(ctx, job.States); err != nil {
			return explain(err, nil)
		}
	}
	if run.failed {
		return protocol.ErrStreamsFailed
	}
	return nil
}

// A run is one read.
type run struct {
	*session
	readers []*reader
	failed  bool      // some stream has
	end     time.Time // of what this run reads, on WHOOP's clock
	oldest  time.Time // a guess at when the member's history begins; zero: not made yet

	mu sync.Mutex // held while a state is written
}

// choose makes a reader for each configured stream, and fails the streams that
// there are not.
func (r *run) choose(catalog protocol.ConfiguredCatalog) error {
	for _, c := range catalog.Streams {
		id := c.ID()
		i := slices.IndexFunc(streams, func(s stream) bool { return s.id() == id })
		switch {
		case i < 0:
			if err := r.fail(id, &protocol.Error{Kind: protocol.ConfigError, Message: fmt.Sprintf(
				"There is no stream %q. There are: %s. Choose from the output of discover.", id, strings.Join(names(), ", "))}); err != nil {
				return err
			}
			continue
		case c.SyncMode == protocol.Incremental && !streams[i].incremental():
			// Some clients, PyAirbyte among them, ask for it whatever the stream can.
			r.out.Logger().Info("the stream has no incremental mode and is read in full", "stream", id.String())
			c.SyncMode = protocol.FullRefresh
		case c.SyncMode != protocol.FullRefresh && c.SyncMode != protocol.Incremental:
			if err := r.fail(id, &protocol.Error{Kind: protocol.ConfigError, Message: fmt.Sprintf(
				"The stream %s has no sync mode %q. Choose one of its supported_sync_modes in the output of discover.", id, c.SyncMode)}); err != nil {
				return err
			}
			continue
		}
		if err := r.out.Status(id, protocol.Started); err != nil {
			return outputError{err}
		}
		r.readers = append(r.readers, &reader{run: r, stream: streams[i], mode: c.SyncMode, asked: map[string]bool{}})
	}
	return nil
}

func names() []string {
	var all []string
	for _, s := range streams {
		all = append(all, s.name)
	}
	return all
}

func (r *run) read(ctx context.Context, states []protocol.State) error {
	r.waiting = r.rateLimited
	if err := r.connect(ctx); err != nil {
		return err
	}
	r.end = r.client.Now().Truncate(time.Millisecond)
	due, err := r.due(ctx, states)
	if err != nil {
		return err
	}
	var walks []*walk
	for _, s := range streams {
		readers := due[s.collection]
		if !s.incremental() || len(readers) == 0 {
			continue
		}
		delete(due, s.collection)
		w, err := r.newWalk(ctx, s.collection, readers)
		if err != nil {
			if err := r.tryAll(readers, err); err != nil {
				return err
			}
			continue
		}
		walks = append(walks, w)
	}
	return r.walk(ctx, walks)
}

// due reads the streams that are single objects, and returns those that are to
// be read from a walk, by its collection.
func (r *run) due(ctx context.Context, states []protocol.State) (map[string][]*reader, error) {
	for _, s := range states {
		if s.Type != protocol.StreamState {
			r.out.Logger().Warn("the state file holds a state that is not of this source and is not used: give it what the destination's state command prints", "type", string(s.Type))
		}
	}
	var reading []*reader
	full := map[string]bool{} // collections that a stream needs from its beginning
	for _, rd := range r.readers {
		if rd.object != "" {
			if err := r.try(rd, rd.readObject(ctx)); err != nil {
				return nil, err
			}
			continue
		}
		reads, err := rd.begin(states)
		if err := r.try(rd, err); err != nil {
			return nil, err
		}
		if reads && !rd.over {
			reading = append(reading, rd)
			full[rd.collection] = full[rd.collection] || rd.full
		}
	}
	due := map[string][]*reader{}
	for _, rd := range reading {
		if rd.mode == protocol.Incremental {
			// Where a run was interrupted between two streams of a collection, one
			// would else make a walk of its own every week.
			rd.full = full[rd.collection] && !rd.kept.Until.IsZero()
			if err := r.try(rd, rd.track()); err != nil {
				return nil, err
			}
			if rd.over {
				continue
			}
		}
		due[rd.walked()] = append(due[rd.walked()], rd)
	}
	return due, nil
}

// try fails one stream with err and returns nil, unless err ends the run.
func (r *run) try(rd *reader, err error) error {
	if err == nil || rd.over {
		return nil
	}
	if fatal(err) {
		return err
	}
	rd.over = true
	return r.fail(rd.id(), explain(err, rd.scopes))
}

func (r *run) fail(id protocol.StreamID, err error) error {
	r.failed = true
	if err := r.out.Fail(id, err); err != nil {
		return outputError{err}
	}
	return nil
}

// rateLimited tells of a wait. The last state of each stream goes out again, so
// that whoever waits for this program sees that it lives. An error is met again
// at the next record; for a stream that is over there is nothing to tell.
func (r *run) rateLimited(until time.Time) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, rd := range r.readers {
		_ = r.out.RateLimited(rd.id(), until)
		if rd.last != nil {
			_ = r.out.State(protocol.NewStreamState(rd.id(), rd.last))
		}
	}
}
