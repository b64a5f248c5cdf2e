package syncer

import (
	"context"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"

	"github.com/apache/iceberg-go/catalog"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/metrics"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A Stream is one stream of the catalog on its way into its table.
type Stream struct {
	ID    protocol.StreamID
	Table *lake.Table // nil before [Streams.Open]

	configured protocol.ConfiguredStream
	hadState   bool // an earlier sync had a state of it
	plan       *columnar.Plan
	options    lake.Options
	begun      lake.Begun // what its table has to do before it is complete; zero in overwrite mode

	// These belong to checkpoints.
	unplanned   rowsBySegment // its rows that are in no commit plan
	coveredUpTo int64         // the segment that its last state ends; 0: no state came
	planned     int64         // the last segment whose rows are in a commit plan
	waitingRows int64         // rows that could not be part of the last commit plan

	compared bool // its first state with the one that its table had (lineage.go)
}

// isOverwrite reports whether the stream's rows replace those of the table, at the end
// and all at once.
func (s *Stream) isOverwrite() bool { return s.configured.DestinationSyncMode == protocol.Overwrite }

// isCommittedAtEnd reports whether nothing of the stream may be committed before it is
// complete.
func (s *Stream) isCommittedAtEnd() bool { return s.isOverwrite() || s.begun.AtEnd }

// Measured names the stream and its table in metrics.
func (s *Stream) Measured() metrics.Table {
	return metrics.Table{Stream: s.ID, Mode: s.configured.DestinationSyncMode, Identifier: s.Table.Opened().Identifier()}
}

// generation returns the generations that the catalog names; nil: it names none.
func (s *Stream) generation() *lake.Generation {
	if s.configured.GenerationID == nil {
		return nil
	}
	g := &lake.Generation{ID: *s.configured.GenerationID}
	if s.configured.MinimumGenerationID != nil {
		g.Minimum = *s.configured.MinimumGenerationID
	}
	return g
}

func (s *Stream) rowMeta() columnar.RowMeta {
	return columnar.RowMeta{SyncID: s.configured.SyncID, GenerationID: s.configured.GenerationID}
}

// Streams are the streams of the catalog, in its order.
type Streams struct {
	all  []*Stream
	byID map[protocol.StreamID]*Stream
}

// PlanStreams checks the whole catalog before anything is written. planOf and
// optionsOf give what the configuration says of a stream's table.
func PlanStreams(
	catalog protocol.ConfiguredCatalog,
	planOf func(protocol.ConfiguredStream) (*columnar.Plan, error),
	optionsOf func(protocol.StreamID) lake.Options,
) (Streams, error) {
	streams := Streams{byID: map[protocol.StreamID]*Stream{}}
	for _, configured := range catalog.Streams {
		switch configured.DestinationSyncMode {
		case protocol.Append, protocol.Overwrite, protocol.AppendDedup:
		default:
			id := configured.ID()
			return streams, &protocol.Error{Kind: protocol.ConfigError, Stream: &id, Message: fmt.Sprintf(
				"Stream %s is configured with the destination sync mode %q. This destination knows append, overwrite and append_dedup.", id, configured.DestinationSyncMode)}
		}
	}
	for _, configured := range catalog.Streams {
		plan, err := planOf(configured)
		if err != nil {
			return streams, err
		}
		stream := &Stream{ID: plan.Stream, configured: configured, plan: plan}
		if least := configured.MinimumGenerationID; least != nil && *least != 0 && (configured.GenerationID == nil || *configured.GenerationID != *least) {
			return streams, &protocol.Error{Kind: protocol.ConfigError, Stream: &stream.ID, Message: fmt.Sprintf(
				"Stream %s has a minimum_generation_id of %d in the catalog. It must be 0, which keeps all generations, or the generation_id, which keeps that one alone.", stream.ID, *least)}
		}
		stream.options = optionsOf(stream.ID)
		if err := stream.options.Check(plan); err != nil {
			return streams, err
		}
		streams.all = append(streams.all, stream)
		streams.byID[stream.ID] = stream
	}
	return streams, nil
}

// All returns the streams in the order of the catalog.
func (s Streams) All() []*Stream { return s.all }

// Tables returns the open tables in the order of the catalog.
func (s Streams) Tables() []*lake.Table {
	tables := make([]*lake.Table, len(s.all))
	for i, stream := range s.all {
		tables[i] = stream.Table
	}
	return tables
}

// Has reports whether a stream is one of them.
func (s Streams) Has(id protocol.StreamID) bool {
	_, ok := s.byID[id]
	return ok
}

// resolve finds out which table each stream is written to.
func (s Streams) resolve(ctx context.Context, cat catalog.Catalog) error {
	plans := make([]*columnar.Plan, len(s.all))
	for i, stream := range s.all {
		plans[i] = stream.plan
	}
	return tabledef.Resolve(ctx, cat, plans)
}

// Open opens the tables for writing. It creates those that do not exist and brings the
// others to the columns of their streams. It also prepares the refreshes of the catalog's
// generations, which can move rows of a refresh that was given up to the main branch.
func (s Streams) Open(ctx context.Context, cat lake.Catalog, memory Memory, log *slog.Logger) error {
	if err := s.resolve(ctx, cat); err != nil {
		return err
	}
	shared := memory.Shared()
	var hint sync.Once // what one table's storage refuses, it refuses to all
	var failed atomic.Bool
	errs := memory.EachTable(len(s.all), func(i int) error {
		if failed.Load() {
			return nil // of a storage that does not answer, one has waited long enough
		}
		stream := s.all[i]
		stream.options.Memory = shared
		stream.options.Removed = func(file string) {
			log.Debug("a file that a commit left behind was removed", "stream", stream.ID.String(), "file", file)
		}
		stream.options.HintFailed = func(err error) {
			hint.Do(func() {
				log.Warn("metadata/version-hint.text of the table could not be written, so readers that open the table by its directory may see an older version of it; its rows and states are safe, and the next commit tries again",
					"stream", stream.ID.String(), "table", stream.plan.Location.String(), "error", err.Error())
			})
		}
		err := stream.open(ctx, cat)
		if err != nil {
			failed.Store(true)
		}
		return err
	})
	for i, stream := range s.all { // of the errors, the first in the order of the catalog counts
		if errs[i] != nil {
			return fmt.Errorf("opening the table of stream %s: %w", stream.ID, errs[i])
		}
	}
	for _, stream := range s.all {
		stream.warn(log)
	}
	return nil
}

// open opens the stream's table.
func (s *Stream) open(ctx context.Context, cat lake.Catalog) (err error) {
	if s.Table, err = lake.Open(ctx, cat, s.plan, s.options); err == nil {
		s.hadState = len(lake.States(s.Table.Opened().Metadata())) > 0
	}
	if err != nil || s.isOverwrite() {
		return err
	}
	s.begun, err = s.Table.Begin(ctx, s.generation())
	return err
}

// warn says what the user may not expect of the table, once it is open.
func (s *Stream) warn(log *slog.Logger) {
	if len(s.plan.Wanted.Properties) == 0 {
		log.Warn("the stream's schema in the catalog declares no properties, so the table gets only Airbyte's own columns, and every field of its records is dropped", "stream", s.ID.String())
	}
	if types := s.plan.UnknownTypes(); types != "" {
		log.Warn("the stream's schema in the catalog has types that are none of JSON Schema's, so the columns hold the values as JSON text: "+types, "stream", s.ID.String())
	}
	if mode := s.configured.SyncMode; mode != protocol.FullRefresh && mode != protocol.Incremental && mode != "" {
		log.Warn(fmt.Sprintf("the stream's \"sync_mode\" in the catalog is %q; Airbyte's sync modes are full_refresh and incremental", s.configured.SyncMode), "stream", s.ID.String())
	}
	for _, n := range s.begun.Retained {
		log.Warn(fmt.Sprintf("the unfinished refresh to generation %d ended, because this sync keeps all generations: its rows were added to the table, and no older rows were removed", n), "stream", s.ID.String())
	}
	for _, m := range s.Table.TypeChanges() {
		log.Warn(fmt.Sprintf("column %s of table %s holds %s, and the source sends %s: its values go to column %s", m.Column, s.Table, m.Holds, m.Sends, m.To), "stream", s.ID.String())
	}
}

// unknownStream returns the error of a message of a stream that the catalog does not
// have.
func unknownStream(id protocol.StreamID, what string) error {
	return &protocol.Error{Kind: protocol.ConfigError, Stream: &id, Message: fmt.Sprintf(
		"The input holds a %s of stream %s, which is not in the catalog. Give the destination the catalog the source was given.", what, id)}
}
