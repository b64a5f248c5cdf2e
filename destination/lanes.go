package main

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/apache/iceberg-go/catalog"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A lane is one stream on its way into one table.
type lane struct {
	id      protocol.StreamID
	stream  protocol.ConfiguredStream
	plan    *columnar.Plan
	options lake.Options
	table   *lake.Table

	// The ledger's, see there.
	rows      laneRows
	refreshes bool  // older generations go when it is complete; see lake.Table.Begin
	lastState int64 // the segment that the last state ended; 0: none came
	committed int64 // the last segment whose rows are committed
	waiting   int64 // rows that the last cut found waiting
}

// replaces tells whether the stream's rows take the place of what the table
// held, at the end and all at once.
func (l *lane) replaces() bool { return l.stream.DestinationSyncMode == protocol.Overwrite }

// generation is what the catalog says of generations; nil: nothing.
func (l *lane) generation() *lake.Generation {
	if l.stream.GenerationID == nil {
		return nil
	}
	g := &lake.Generation{ID: *l.stream.GenerationID}
	if l.stream.MinimumGenerationID != nil {
		g.Minimum = *l.stream.MinimumGenerationID
	}
	return g
}

func (l *lane) rowMeta() columnar.RowMeta {
	return columnar.RowMeta{SyncID: l.stream.SyncID, GenerationID: l.stream.GenerationID}
}

// lanes are the streams of the catalog, in its order.
type lanes struct {
	all  []*lane
	byID map[protocol.StreamID]*lane
}

// planLanes checks the whole catalog before anything is written.
func planLanes(catalog protocol.ConfiguredCatalog, c Config) (lanes, error) {
	ls := lanes{byID: map[protocol.StreamID]*lane{}}
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
		plan, err := c.plan(s)
		if err != nil {
			return ls, err
		}
		l := &lane{id: plan.Stream, stream: s, plan: plan}
		if least := s.MinimumGenerationID; least != nil && *least != 0 && (s.GenerationID == nil || *s.GenerationID != *least) {
			return ls, &protocol.Error{Kind: protocol.ConfigError, Stream: &l.id, Message: fmt.Sprintf(
				"Stream %s has a minimum_generation_id of %d in the catalog. It must be 0, which keeps all generations, or the generation_id, which keeps that one alone.", l.id, *least)}
		}
		l.options = c.tableOptions(l.id)
		if err := l.options.Check(plan); err != nil {
			return ls, err
		}
		ls.all = append(ls.all, l)
		ls.byID[l.id] = l
	}
	return ls, nil
}

// resolve settles which table each stream is written to.
func (ls lanes) resolve(ctx context.Context, cat catalog.Catalog) error {
	plans := make([]*columnar.Plan, len(ls.all))
	for i, l := range ls.all {
		plans[i] = l.plan
	}
	return lake.Resolve(ctx, cat, plans)
}

// open makes the tables ready to be written.
func (ls lanes) open(ctx context.Context, cat catalog.Catalog, config Config, log *slog.Logger) error {
	if err := ls.resolve(ctx, cat); err != nil {
		return err
	}
	for _, s := range config.Streams {
		if _, ok := ls.byID[s.id()]; !ok {
			log.Warn("the configuration's \"streams\" has an entry for a stream that is not in the catalog: it has no effect", "stream", s.id().String())
		}
	}
	memory := lake.NewMemory(int64(config.Memory) << 20)
	for _, l := range ls.all {
		if len(l.plan.Wanted.Properties) == 0 {
			log.Warn("the stream's schema in the catalog declares no properties, so its rows will hold none", "stream", l.id.String())
		}
		l.options.Memory = memory
		l.options.Removed = func(file string) {
			log.Debug("a file that a commit left behind was removed", "stream", l.id.String(), "file", file)
		}
		var err error
		if l.table, err = lake.Open(ctx, cat, l.plan, l.options); err != nil {
			return fmt.Errorf("opening the table of stream %s: %w", l.id, err)
		}
		if !l.replaces() {
			retained, err := l.table.Begin(ctx, l.generation())
			if err != nil {
				return fmt.Errorf("opening the table of stream %s: %w", l.id, err)
			}
			for _, n := range retained {
				log.Warn(fmt.Sprintf("the refresh to generation %d was given up, as this sync keeps all generations: everything was retained", n), "stream", l.id.String())
			}
			l.refreshes = l.table.Refreshing()
		}
		for _, m := range l.table.TypeChanges() {
			log.Warn(fmt.Sprintf("column %s of table %s holds %s, and the source sends %s: its values go to column %s", m.Column, l.table, m.Holds, m.Sends, m.To), "stream", l.id.String())
		}
	}
	return nil
}

// plan says how a stream becomes a table under this configuration.
func (c Config) plan(s protocol.ConfiguredStream) (*columnar.Plan, error) {
	return columnar.NewPlan(s, columnar.Options{Namespace: c.Namespace, Names: c.Names, Nested: c.Nested, Numbers: c.Numbers})
}
