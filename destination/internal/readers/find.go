package readers

import (
	"fmt"
	"strings"
	"unicode"

	"github.com/apache/iceberg-go"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columns"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

func writesPositionDeletes(o Options) string {
	if o.Upsert == lake.CopyOnWrite {
		return ""
	}
	return fmt.Sprintf(`"upsert": %q may write position deletes`, o.Upsert)
}

func positionDeletes(t Table) string {
	switch {
	case t.Version != 2: // version 1 has none, and version 3 has deletion vectors
		return ""
	case t.PositionDeletes:
		return fmt.Sprintf("table %s has position deletes", t.Name)
	case t.WritesPositionDeletes:
		return fmt.Sprintf("table %s may get position deletes", t.Name)
	}
	return ""
}

func equalityDeletes(t Table) string {
	if !t.EqualityDeletes {
		return ""
	}
	return fmt.Sprintf("table %s has equality deletes", t.Name)
}

func version3(t Table) string {
	if t.Version < 3 {
		return ""
	}
	return fmt.Sprintf("table %s has format version %d", t.Name, t.Version)
}

func writesJSON(o Options) string {
	if o.Nested != columnar.JSON {
		return ""
	}
	return `"nested": "json" writes whole objects as strings`
}

func preservesNames(effect string) func(Options) string {
	return func(o Options) string {
		if o.Names != columns.Preserve {
			return ""
		}
		return `"names": "preserve" ` + effect
	}
}

func isMonthOrDay(t iceberg.Transform) bool {
	switch t.(type) {
	case iceberg.MonthTransform, iceberg.DayTransform:
		return true
	}
	return false
}

func choosesMonthOrDay(o Options) string {
	var found []string
	for _, s := range o.Streams {
		for _, by := range s.PartitionBy {
			if isMonthOrDay(by.Transform) {
				found = append(found, fmt.Sprintf("stream %s by %q", s.ID, by))
			}
		}
	}
	return enumerate(`"partition_by" partitions `, found)
}

func monthOrDay(t Table) string {
	var found []string
	for f := range tabledef.PartitionFields(t.Spec) {
		column, there := t.Schema.FindFieldByID(f.SourceID())
		_, date := column.Type.(iceberg.DateType)
		if there && !date && isMonthOrDay(f.Transform) {
			name, _ := t.Schema.FindColumnName(f.SourceID())
			found = append(found, fmt.Sprintf("%q", tabledef.PartitionBy{Transform: f.Transform, Column: name}))
		}
	}
	return enumerate(fmt.Sprintf("table %s is partitioned by ", t.Name), found)
}

// columnsOf returns a search for columns and fields. kind says of what kind they are,
// after "columns".
func columnsOf(kind string, is func(column) bool) func(Table) string {
	return func(t Table) string {
		var found []string
		for c := range walk(t.Schema) {
			if is(c) {
				found = append(found, fmt.Sprintf("%q", c.path))
			}
		}
		return enumerate(fmt.Sprintf("table %s has columns %s: ", t.Name, kind), found)
	}
}

// names returns a search among the names of the table, its namespace and its columns.
func names(kind string, is func(name string) bool) func(Table) string {
	return func(t Table) string {
		var found []string
		for part := range strings.SplitSeq(t.Name, ".") {
			if is(part) {
				found = append(found, fmt.Sprintf("%q", part))
			}
		}
		for c := range walk(t.Schema) {
			if is(c.name) {
				found = append(found, fmt.Sprintf("%q", c.path))
			}
		}
		return enumerate(fmt.Sprintf("table %s has %s: ", t.Name, kind), found)
	}
}

func hasUpperCase(name string) bool { return strings.ContainsFunc(name, unicode.IsUpper) }

func isLong(name string) bool { return len(name) > columns.MaxName }

// enumerate lists what was found, "" if that is nothing.
func enumerate(introduction string, found []string) string {
	const maxNames = 5
	if len(found) == 0 {
		return ""
	}
	if len(found) > maxNames {
		found = append(found[:maxNames:maxNames], fmt.Sprintf("and %d more", len(found)-maxNames))
	}
	return introduction + strings.Join(found, ", ")
}
