package columnar

import (
	"errors"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Names says how names of streams and properties become names of tables and
// columns.
type Names string

const (
	Lowercase Names = "lowercase" // [a-z0-9_]; the default
	Preserve  Names = "preserve"  // as they are, save what no engine can take
)

// Nested says how objects with declared properties are kept.
type Nested string

const (
	Struct Nested = "struct" // the default
	JSON   Nested = "json"   // as a string holding JSON
)

// Numbers says how JSON numbers that are not integers are kept.
type Numbers string

const (
	Double  Numbers = "double"  // the default
	Decimal Numbers = "decimal" // decimal(38,9)
)

// Options are the user's choices; a zero value is the default.
type Options struct {
	Names     Names
	Nested    Nested
	Numbers   Numbers
	Namespace string // for streams that carry none
}

// Plan says how the records of one stream become rows of one table.
type Plan struct {
	Stream    protocol.StreamID
	Namespace string          // a legal Iceberg namespace
	Table     string          // a legal table name
	Schema    *iceberg.Schema // the wanted columns in order, then the four of Airbyte; ids are provisional
	Dedup     bool            // keep one row per key: destination_sync_mode append_dedup
	Key       []string        // columns of the primary key; only when Dedup
	Cursor    string          // column that orders versions of a row; "" orders by arrival
	Deleted   string          // column of _ab_cdc_deleted_at; "" when the stream has none
}

var errUnfinished = errors.New("columnar: not yet")

// NewPlan plans one stream by itself. Its error is a Config error that names
// the stream, the field and the remedy.
func NewPlan(s protocol.ConfiguredStream, o Options) (*Plan, error) { return nil, errUnfinished }

// NewPlans plans all streams of a catalog, so that no two of them write the
// same table.
func NewPlans(c protocol.ConfiguredCatalog, o Options) ([]*Plan, error) { return nil, errUnfinished }

// Layout is a plan bound to a table: its columns carry the table's field ids.
type Layout struct {
	schema *arrow.Schema
}

// Bind finds the plan's columns in a table by name.
func (p *Plan) Bind(table *iceberg.Schema) (*Layout, error) { return nil, errUnfinished }

// Arrow returns the schema of the batches, with PARQUET:field_id metadata on
// every field.
func (l *Layout) Arrow() *arrow.Schema { return l.schema }
