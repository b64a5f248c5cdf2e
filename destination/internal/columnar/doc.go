// Package columnar turns the records of a stream into columns: JSON Schema to
// an Iceberg schema, and lines of JSON to Arrow arrays, in one pass and without
// an allocation per record. It does no I/O.
package columnar
