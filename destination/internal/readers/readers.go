// Package readers says what of a table the programs that are to read it cannot
// read, and what to set instead. It judges the configuration, when there need be
// no table yet, and tables. It does no I/O; what is known of each reader is one
// table (limits.go), which the documentation shows.
package readers

import (
	"slices"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A Reader is a program that reads the tables.
type Reader string

const (
	Athena     Reader = "athena"
	BigQuery   Reader = "bigquery"
	Databricks Reader = "databricks"
	DuckDB     Reader = "duckdb"
	PyIceberg  Reader = "pyiceberg"
	Redshift   Reader = "redshift"
	Snowflake  Reader = "snowflake"
	Spark      Reader = "spark"
	Trino      Reader = "trino"
)

// JSONSchema lists the readers.
func (Reader) JSONSchema() *jsonschema.Schema {
	s := &jsonschema.Schema{Type: "string"}
	for _, r := range []Reader{Athena, BigQuery, Databricks, DuckDB, PyIceberg, Redshift, Snowflake, Spark, Trino} {
		s.Enum = append(s.Enum, string(r))
	}
	return s
}

// Options are the parts of the configuration that decide what tables will have.
type Options struct {
	Upsert  lake.Upsert
	Names   columns.Names
	Nested  columnar.Nested
	Streams []Stream
}

// A Stream is what the configuration says of one stream's table.
type Stream struct {
	ID          protocol.StreamID
	PartitionBy []tabledef.PartitionBy
}

// A Table is the part of a table's metadata that decides who can read it.
type Table struct {
	Name    string // "whoop.sleep"
	Version int    // of its format
	Schema  *iceberg.Schema
	Spec    iceberg.PartitionSpec

	PositionDeletes, EqualityDeletes bool // its current snapshot has some
	WritesPositionDeletes            bool // the sync may add some
}

// TableOf returns what decides who can read a table.
func TableOf(loaded *table.Table) Table {
	t := Table{
		Name: strings.Join(loaded.Identifier(), "."), Version: loaded.Metadata().Version(),
		Schema: loaded.Schema(), Spec: loaded.Spec(),
	}
	if s := loaded.CurrentSnapshot(); s != nil && s.Summary != nil {
		total := s.Summary.Properties.GetInt64
		t.PositionDeletes, t.EqualityDeletes = total("total-position-deletes", 0) > 0, total("total-equality-deletes", 0) > 0
	}
	return t
}

// A Finding is something that a reader cannot read.
type Finding struct {
	Reader  Reader
	Subject string // what has it: an option, or a table with its columns
	Effect  string // what the reader does with it
	Remedy  string
}

// String says all of it.
func (f Finding) String() string { return f.Subject + ": " + f.Effect + "; " + f.Remedy }

// CheckOptions returns what readers will not be able to read in tables that are
// made and written with the options.
func CheckOptions(readers []Reader, o Options) []Finding {
	return findings(readers, func(f feature) string {
		if f.chosen == nil {
			return ""
		}
		return f.chosen(o)
	})
}

// CheckTable returns what readers cannot read in a table.
func CheckTable(readers []Reader, t Table) []Finding {
	return findings(readers, func(f feature) string {
		if f.found == nil {
			return ""
		}
		return f.found(t)
	})
}

func findings(readers []Reader, subject func(feature) string) []Finding {
	var all []Finding
	for _, f := range features {
		has := ""
		for _, l := range f.limits {
			if !slices.Contains(readers, l.reader) {
				continue
			}
			if has == "" {
				has = subject(f)
			}
			if has != "" {
				all = append(all, Finding{Reader: l.reader, Subject: has, Effect: l.effect, Remedy: f.remedy})
			}
		}
	}
	return all
}
