package lake

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/budget"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Upsert says how append_dedup takes rows out of files that are already
// written.
type Upsert string

const (
	// Auto rewrites files while that is little work, and writes position
	// deletes when it is not.
	Auto Upsert = "auto"
	// CopyOnWrite always rewrites the files.
	CopyOnWrite Upsert = "copy_on_write"
	// MergeOnRead always writes position deletes beside them.
	MergeOnRead Upsert = "merge_on_read"
)

// Catalog is a catalog that says what it does with metadata files that commits
// supersede, and with branches.
type Catalog interface {
	catalog.Catalog
	// ClientRemovesMetadata reports whether whoever commits has to remove them.
	// Otherwise the catalog does.
	ClientRemovesMetadata() bool
	// KeepsBranches reports whether a table can have a branch besides main.
	KeepsBranches() bool
}

// Options are the user's choices; a zero value is the default.
type Options struct {
	Upsert          Upsert // Auto
	FormatVersion   int    // of tables that are made, never of those that are there: 2
	TargetFileBytes int64  // size at which a data file is closed: 512 MiB, or what the table says
	// ReaderTime is how long readers may stand on what is no longer current: an
	// hour.
	ReaderTime time.Duration
	// Warehouse is the directory that the catalog lies in, "" when it lies
	// elsewhere. Then a table that this program made must lie there, too:
	// otherwise the lake was copied or moved, and this is the original.
	Warehouse string

	// Memory limits what all tables that share it take; nil: this one has 512
	// MiB.
	Memory *budget.Memory

	// Removed is told of each file that a commit left behind and that was
	// removed; it may be nil. What maintenance removes is in its report.
	Removed func(file string)
	// HintFailed is told once that the version hint could not be written; it may be
	// nil.
	HintFailed func(error)

	tabledef.Settings
}

// Table is the table of one stream. Its writers may work at once, also beside a commit. Methods
// that commit are called one at a time.
type Table struct {
	cat     Catalog
	id      table.Identifier
	plan    *columnar.Plan
	columns *columns.Evolution
	keys    rowkeys.Fields
	opts    Options
	layout  *columnar.Layout

	opened  *table.Table
	since   time.Time // when it was opened
	refresh refresh   // that is under way, if any

	maxBackoff       time.Duration // the longest pause between attempts to commit
	commitTimeout    time.Duration // how long there are more attempts
	minRowGroupBytes int64         // bytes of rows that are too few for a row group
	manyHits         int64         // rows of staged keys that are kept in memory, beyond those that are staged
	completingBytes  int64         // that files may have together, unless one has more, that wait for the storage: with S3 they are in scratch

	uuid    uuid.UUID
	version int             // of the table's format
	schema  *iceberg.Schema // as it was when the table was opened
	spec    iceberg.PartitionSpec
	order   table.SortOrder
	storage *snapshots.Storage
}

// Open makes the plan's table ready to be written: it is created, or brought
// to the plan's columns. Several processes may open one table at once.
func Open(ctx context.Context, cat Catalog, p *columnar.Plan, o Options) (*Table, error) {
	t, err := open(ctx, cat, p, o)
	if err != nil {
		return nil, err
	}
	if t.layout, err = t.plan.Bind(t.schema, t.columns.IDs); err != nil {
		return nil, err
	}
	return t, nil
}

func open(ctx context.Context, cat Catalog, p *columnar.Plan, o Options) (*Table, error) {
	t := newTable(cat, p, o)
	found, err := cat.LoadTable(ctx, t.id)
	if errors.Is(err, catalog.ErrNoSuchTable) || errors.Is(err, catalog.ErrNoSuchNamespace) {
		found, err = create(ctx, t)
	}
	if err != nil {
		return nil, t.Explain(fmt.Errorf("opening table %s: %w", t, err))
	}
	loaded, err := evolve(ctx, t, found)
	if err != nil {
		return nil, t.Explain(err)
	}
	if err := t.adopt(ctx, loaded); err != nil {
		return nil, t.Explain(err)
	}
	if loaded.MetadataLocation() != found.MetadataLocation() {
		t.storage.HintVersion(loaded.MetadataLocation())
	}
	return t, definitionOf(t).CheckSpec(t.spec, t.schema)
}

// newTable makes a table without what is in the catalog. cat is nil for one that is only read.
func newTable(cat Catalog, p *columnar.Plan, o Options) *Table {
	if o.Upsert == "" {
		o.Upsert = Auto
	}
	if o.FormatVersion == 0 {
		o.FormatVersion = 2
	}
	if o.TargetFileBytes == 0 {
		o.TargetFileBytes = 512 << 20
	}
	if o.ReaderTime == 0 {
		o.ReaderTime = time.Hour
	}
	if o.Memory == nil {
		o.Memory = budget.NewMemory(512 << 20)
	}
	if o.Removed == nil {
		o.Removed = func(string) {}
	}
	if o.HintFailed == nil {
		o.HintFailed = func(error) {}
	}
	id := p.Identifier()
	return &Table{
		cat: cat, id: id, plan: p, columns: &columns.Evolution{}, keys: rowkeys.Fields{Cursor: rowkeys.NoField, Deleted: rowkeys.NoField}, opts: o,
		storage: &snapshots.Storage{
			Table: strings.Join(id, "."), Memory: o.Memory, TargetFileBytes: o.TargetFileBytes,
			HasVersionHint: cat != nil && cat.ClientRemovesMetadata(), HintFailed: o.HintFailed,
		},
		maxBackoff: time.Second, commitTimeout: 5 * time.Minute, minRowGroupBytes: minRowGroupBytes,
		manyHits: rowkeys.ManyHits, completingBytes: 512 << 20,
	}
}

// adopt copies from a loaded table what stays the same as long as t is used.
func (t *Table) adopt(ctx context.Context, loaded *table.Table) error {
	fs, err := loaded.FS(ctx)
	if err != nil {
		return fmt.Errorf("reaching the files of table %s: %w", t, err)
	}
	files, ok := fs.(iceio.WriteFileIO)
	if !ok {
		return fmt.Errorf("reaching the files of table %s: its storage cannot be written", t)
	}
	if t.storage.Locations, err = loaded.LocationProvider(); err != nil {
		return fmt.Errorf("locating the files of table %s: %w", t, err)
	}
	def := definitionOf(t)
	if err := errors.Join(def.CheckProperties(loaded), def.CheckLocation(loaded, t.opts.Warehouse)); err != nil {
		return err
	}
	if t.plan.Dedup && loaded.Metadata().Version() < 2 && t.opts.Upsert == MergeOnRead {
		return t.errorf(protocol.ConfigError, nil, `Table %s has format version 1, which has no delete files. Set "upsert" to "auto" or "copy_on_write".`, t)
	}
	if size := loaded.Properties().GetInt64(table.WriteTargetFileSizeBytesKey, 0); size > 0 {
		t.storage.TargetFileBytes = size
	}
	t.storage.Properties, t.storage.Location = loaded.Properties(), loaded.Location()
	t.opened, t.since = loaded, time.Now()
	t.storage.Files, t.schema, t.spec, t.order = files, loaded.Schema(), loaded.Spec(), loaded.SortOrder()
	t.uuid, t.version = loaded.Metadata().TableUUID(), loaded.Metadata().Version()
	return nil
}

// Catalog is the catalog that has the table.
func (t *Table) Catalog() Catalog { return t.cat }

// Opened is the table as it was when it was opened.
func (t *Table) Opened() *table.Table { return t.opened }

// Storage is where the files of the table are, and how new ones are written.
func (t *Table) Storage() *snapshots.Storage { return t.storage }

// ReaderTime is how long a reader, or a writer in doubt, may need what is no longer
// current.
func (t *Table) ReaderTime() time.Duration { return t.opts.ReaderTime }

// Layout is how batches of rows must be laid out to be written.
func (t *Table) Layout() *columnar.Layout { return t.layout }

// WritesPositionDeletes reports whether commits may write position deletes.
func (t *Table) WritesPositionDeletes() bool {
	return t.plan.Dedup && t.version >= 2 && t.opts.Upsert != CopyOnWrite
}

// TypeChanges are the properties whose values do not go to their oldest columns,
// because those hold other types.
func (t *Table) TypeChanges() []columns.TypeChange { return t.columns.TypeChanges }

// String is the table's name, as in "whoop.sleep".
func (t *Table) String() string { return strings.Join(t.id, ".") }

func definitionOf(t *Table) tabledef.Definition {
	return tabledef.Definition{Plan: t.plan, Columns: t.columns, Settings: t.opts.Settings}
}

// errorf returns an error of the table's stream, for the user. cause may be nil.
func (t *Table) errorf(kind protocol.Kind, cause error, format string, args ...any) error {
	return &protocol.Error{Kind: kind, Stream: &t.plan.Stream, Message: fmt.Sprintf(format, args...), Err: cause}
}
