package syncer

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/apache/iceberg-go/catalog"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A lane is one stream on its way into one table.
type Stream struct {
	ID      protocol.StreamID
	stream  protocol.ConfiguredStream
	Plan    *columnar.Plan
	options lake.Options
	Table   *lake.Table

	// The ledger's, see there.
	rows      laneRows
	refreshes bool  // older generations go when it is complete; see lake.Table.Begin
	lastState int64 // the segment that the last state ended; 0: none came
	committed int64 // the last segment whose rows are committed
	waiting   int64 // rows that the last cut found waiting
}

// Replaces tells whether the stream's rows take the place of what the table
// held, at the end and all at once.
func (l *Stream) Replaces() bool { return l.stream.DestinationSyncMode == protocol.Overwrite }

// Generation is what the catalog says of generations; nil: nothing.
func (l *Stream) Generation() *lake.Generation {
	if l.stream.GenerationID == nil {
		return nil
	}
	g := &lake.Generation{ID: *l.stream.GenerationID}
	if l.stream.MinimumGenerationID != nil {
		g.Minimum = *l.stream.MinimumGenerationID
	}
	return g
}

func (l *Stream) rowMeta() columnar.RowMeta {
	return columnar.RowMeta{SyncID: l.stream.SyncID, GenerationID: l.stream.GenerationID}
}

// lanes are the streams of the catalog, in its order.
type Streams struct {
	all  []*Stream
	byID map[protocol.StreamID]*Stream
}

// PlanStreams checks the whole catalog before anything is written.
func PlanStreams(catalog protocol.ConfiguredCatalog, planned func(protocol.ConfiguredStream) (*columnar.Plan, error), options func(protocol.StreamID) lake.Options) (Streams, error) {
	ls := Streams{byID: map[protocol.StreamID]*Stream{}}
	for _, s := range catalog.Streams {
		switch s.DestinationSyncMode {
		case protocol.Append, protocol.Overwrite, protocol.AppendDedup:
		default:
			id := s.ID()
			return ls, &protocol.Error{Kind: protocol.ConfigError, Stream: &id, Message: fmt.Sprintf(
				"Stream %s is configured with the destination sync mode %q. This destination knows append, overwrite and append_dedup.", id, s.DestinationSyncMode)}
		}
	}
	for _, s := range catalog.Streams {
		plan, err := planned(s)
		if err != nil {
			return ls, err
		}
		l := &Stream{ID: plan.Stream, stream: s, Plan: plan}
		if least := s.MinimumGenerationID; least != nil && *least != 0 && (s.GenerationID == nil || *s.GenerationID != *least) {
			return ls, &protocol.Error{Kind: protocol.ConfigError, Stream: &l.ID, Message: fmt.Sprintf(
				"Stream %s has a minimum_generation_id of %d in the catalog. It must be 0, which keeps all generations, or the generation_id, which keeps that one alone.", l.ID, *least)}
		}
		l.options = options(l.ID)
		if err := l.options.Check(plan); err != nil {
			return ls, err
		}
		ls.all = append(ls.all, l)
		ls.byID[l.ID] = l
	}
	return ls, nil
}

// All returns the streams in the order of the catalog.
func (ls Streams) All() []*Stream { return ls.all }

// Has reports whether a stream is one of them.
func (ls Streams) Has(id protocol.StreamID) bool {
	_, ok := ls.byID[id]
	return ok
}

// Resolve settles which table each stream is written to.
func (ls Streams) Resolve(ctx context.Context, cat catalog.Catalog) error {
	plans := make([]*columnar.Plan, len(ls.all))
	for i, l := range ls.all {
		plans[i] = l.Plan
	}
	return lake.Resolve(ctx, cat, plans)
}

// Open makes the tables ready to be written.
func (ls Streams) Open(ctx context.Context, cat catalog.Catalog, memory Memory, log *slog.Logger) error {
	if err := ls.Resolve(ctx, cat); err != nil {
		return err
	}
	shared := budget.NewMemory(memory.bytes())
	for _, l := range ls.all {
		if len(l.Plan.Wanted.Properties) == 0 {
			log.Warn("the stream's schema in the catalog declares no properties, so its rows will hold none", "stream", l.ID.String())
		}
		l.options.Memory = shared
		l.options.Removed = func(file string) {
			log.Debug("a file that a commit left behind was removed", "stream", l.ID.String(), "file", file)
		}
		var err error
		if l.Table, err = lake.Open(ctx, cat, l.Plan, l.options); err != nil {
			return fmt.Errorf("opening the table of stream %s: %w", l.ID, err)
		}
		if !l.Replaces() {
			retained, err := l.Table.Begin(ctx, l.Generation())
			if err != nil {
				return fmt.Errorf("opening the table of stream %s: %w", l.ID, err)
			}
			for _, n := range retained {
				log.Warn(fmt.Sprintf("the refresh to generation %d was given up, as this sync keeps all generations: everything was retained", n), "stream", l.ID.String())
			}
			l.refreshes = l.Table.Refreshing()
		}
		for _, m := range l.Table.TypeChanges() {
			log.Warn(fmt.Sprintf("column %s of table %s holds %s, and the source sends %s: its values go to column %s", m.Column, l.Table, m.Holds, m.Sends, m.To), "stream", l.ID.String())
		}
	}
	return nil
}
