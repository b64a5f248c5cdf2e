package tabledef

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// A PartitionBy is one field of how a table is partitioned: "column",
// "month(column)", "bucket(16, column)".
type PartitionBy struct {
	Transform iceberg.Transform
	Column    string // as the stream has it, or the table
}

var (
	call  = regexp.MustCompile(`^([A-Za-z_]+)(\[.*\])?\((.*)\)$`)
	width = regexp.MustCompile(`^([0-9]+) *,(.*)$`)
)

// ParsePartitionBy reads a field of partition_by. A column that looks like a
// transform, as "f(x)" does, is named by "identity(f(x))".
func ParsePartitionBy(text string) (PartitionBy, error) {
	p := PartitionBy{Transform: iceberg.IdentityTransform{}, Column: strings.TrimSpace(text)}
	if found := call.FindStringSubmatch(p.Column); found != nil {
		name, inside := found[1], strings.TrimSpace(found[3])
		p.Column = inside
		if found[2] != "" { // as in Iceberg's own metadata
			return p, fmt.Errorf("a number goes before the column, as in bucket(16, id)")
		}
		switch name {
		case "identity":
		case "year":
			p.Transform = iceberg.YearTransform{}
		case "month":
			p.Transform = iceberg.MonthTransform{}
		case "day":
			p.Transform = iceberg.DayTransform{}
		case "hour":
			p.Transform = iceberg.HourTransform{}
		case "bucket", "truncate":
			parts := width.FindStringSubmatch(inside)
			if parts == nil {
				return p, fmt.Errorf("%s takes a number and a column, as in %s(16, id)", name, name)
			}
			n, err := strconv.ParseInt(parts[1], 10, 32)
			if err != nil || n == 0 {
				return p, fmt.Errorf("the number of %s must be from 1 to 2147483647", name)
			}
			p.Column = strings.TrimSpace(parts[2])
			if name == "bucket" {
				p.Transform = iceberg.BucketTransform{NumBuckets: int(n)}
			} else {
				p.Transform = iceberg.TruncateTransform{Width: int(n)}
			}
		default:
			return p, fmt.Errorf("the transform %q does not exist; use year, month, day, hour, bucket, truncate or identity", name)
		}
	}
	if p.Column == "" {
		return p, fmt.Errorf("it names no column")
	}
	return p, nil
}

// String is the field as ParsePartitionBy reads it.
func (p PartitionBy) String() string {
	switch t := p.Transform.(type) {
	case iceberg.IdentityTransform:
		if call.MatchString(p.Column) {
			return fmt.Sprintf("identity(%s)", p.Column)
		}
		return p.Column
	case iceberg.BucketTransform:
		return fmt.Sprintf("bucket(%d, %s)", t.NumBuckets, p.Column)
	case iceberg.TruncateTransform:
		return fmt.Sprintf("truncate(%d, %s)", t.Width, p.Column)
	default:
		return fmt.Sprintf("%s(%s)", t, p.Column)
	}
}

// Redundant finds the first field that an earlier one makes needless: the same
// transform of the same column, or two of year, month, day and hour. same
// reports whether two names are of one column.
func Redundant(fields []PartitionBy, same func(a, b string) bool) (earlier, field PartitionBy, found bool) {
	for i, f := range fields {
		_, time := f.Transform.(iceberg.TimeTransform)
		for _, e := range fields[:i] {
			_, earlierTime := e.Transform.(iceberg.TimeTransform)
			if same(e.Column, f.Column) && (f.Transform.Equals(e.Transform) || time && earlierTime) {
				return e, f, true
			}
		}
	}
	return PartitionBy{}, PartitionBy{}, false
}

// A SortBy is one field of how the rows of a file are ordered: "column" or
// "column desc". Nulls are the lowest, as with Spark and Iceberg's own library.
type SortBy struct {
	Column     string // as the stream has it, or the table
	Descending bool
}

var direction = regexp.MustCompile(`(?i) +(asc|desc|ascending|descending|nulls +(?:first|last))$`)

// ParseSortBy reads a field of sort_by.
func ParseSortBy(text string) (SortBy, error) {
	column, descending := strings.CutSuffix(strings.TrimSpace(text), " desc")
	s := SortBy{Column: strings.TrimSpace(column), Descending: descending}
	switch {
	case s.Column == "":
		return s, fmt.Errorf("it names no column")
	case direction.MatchString(s.Column):
		return s, fmt.Errorf(`only "desc" may follow the column`)
	}
	return s, nil
}

// String is the field as ParseSortBy reads it.
func (s SortBy) String() string {
	if s.Descending {
		return s.Column + " desc"
	}
	return s.Column
}

// direction is what a sort order has for the field.
func (s SortBy) direction() (table.SortDirection, table.NullOrder) {
	if s.Descending {
		return table.SortDESC, table.NullsLast
	}
	return table.SortASC, table.NullsFirst
}

// Clauses says how a table's new files are partitioned and sorted, as the
// configuration would.
func Clauses(meta table.Metadata) (partitionBy, sortBy []string) {
	schema := meta.CurrentSchema()
	named := func(source int, t iceberg.Transform) string {
		name, ok := schema.FindColumnName(source)
		if !ok {
			name = fmt.Sprint("column ", source, ", which no longer exists")
		}
		return PartitionBy{Transform: t, Column: name}.String()
	}
	for f := range PartitionFields(meta.PartitionSpec()) {
		partitionBy = append(partitionBy, named(f.SourceID(), f.Transform))
	}
	for _, f := range meta.SortOrder().Fields() {
		by := SortBy{Column: named(f.SourceID(), f.Transform), Descending: f.Direction == table.SortDESC}
		text := by.String()
		if _, nulls := by.direction(); nulls != f.NullOrder {
			text += ", " + string(f.NullOrder)
		}
		sortBy = append(sortBy, text)
	}
	return partitionBy, sortBy
}
