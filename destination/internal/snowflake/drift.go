package snowflake

import (
	"context"
	"fmt"
	"strings"

	"github.com/apache/iceberg-go"
)

// reportDrift warns of columns that Snowflake shows otherwise than the table has them.
func (r *registrar) reportDrift(ctx context.Context, f *refreshedTable) error {
	if f.shown == nil {
		return nil
	}
	loaded, err := load(ctx, f.table)
	if err != nil {
		return err
	}
	columns, err := r.client.rows(ctx, "DESCRIBE ICEBERG TABLE "+f.name.sql())
	if err != nil {
		return r.explain(err, f)
	}
	if found := drift(loaded.Schema(), columns); len(found) > 0 {
		r.log.Warn("Snowflake shows columns otherwise than the table has them: "+strings.Join(found, "; ")+". Queries in Snowflake may fail or miss values. Refresh the table there; if that does not help, drop it in Snowflake, and the next sync registers it again",
			"table", f.table.String(), "name", f.name.String())
	}
	return nil
}

// drift compares the columns of a table with those that Snowflake describes.
func drift(schema *iceberg.Schema, described []map[string]string) []string {
	var found []string
	shown := map[string]string{}
	for _, column := range described {
		shown[strings.ToUpper(column["name"])] = column["type"]
	}
	for _, field := range schema.Fields() {
		name := strings.ToUpper(field.Name)
		is, ok := shown[name]
		delete(shown, name)
		switch {
		case !ok:
			found = append(found, fmt.Sprintf("column %s is missing", field.Name))
		case !sameType(is, field.Type):
			found = append(found, fmt.Sprintf("column %s is %s there, and %s in the table", field.Name, is, field.Type))
		}
	}
	for _, column := range described {
		if _, more := shown[strings.ToUpper(column["name"])]; more {
			found = append(found, fmt.Sprintf("column %s is not in the table", column["name"]))
		}
	}
	return found
}

// sameType reports whether a type of Snowflake is how it shows a type of Iceberg.
func sameType(shown string, t iceberg.Type) bool {
	base, arguments, _ := strings.Cut(strings.ToUpper(shown), "(")
	var precision, scale int
	_, _ = fmt.Sscanf(arguments, "%d,%d", &precision, &scale) // other types have other arguments
	oneOf := func(names string) bool { return strings.Contains(" "+names+" ", " "+strings.TrimSpace(base)+" ") }
	switch t := t.(type) {
	case iceberg.BooleanType:
		return oneOf("BOOLEAN")
	case iceberg.Int32Type:
		return oneOf("NUMBER") && precision >= 10 && scale == 0
	case iceberg.Int64Type:
		return oneOf("NUMBER") && precision >= 19 && scale == 0
	case iceberg.Float32Type, iceberg.Float64Type:
		return oneOf("FLOAT DOUBLE REAL")
	case iceberg.DecimalType:
		return oneOf("NUMBER DECIMAL") && precision == t.Precision() && scale == t.Scale()
	case iceberg.StringType:
		return oneOf("VARCHAR STRING TEXT")
	case iceberg.DateType:
		return oneOf("DATE")
	case iceberg.TimestampType:
		return oneOf("TIMESTAMP_NTZ")
	case iceberg.TimestampTzType:
		return oneOf("TIMESTAMP_LTZ TIMESTAMP_TZ")
	case *iceberg.StructType:
		return oneOf("OBJECT")
	case *iceberg.ListType:
		return oneOf("ARRAY")
	case *iceberg.MapType:
		return oneOf("MAP")
	}
	return true // this program writes no others
}
