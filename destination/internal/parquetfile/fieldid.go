package parquetfile

import (
	"slices"
	"strconv"

	"github.com/apache/arrow-go/v18/arrow"
)

// IndexByID finds the field with a field id, -1 being none.
func IndexByID(fields []arrow.Field, id int) int {
	return slices.IndexFunc(fields, func(f arrow.Field) bool {
		text, ok := f.Metadata.GetValue("PARQUET:field_id")
		return ok && text == strconv.Itoa(id)
	})
}
