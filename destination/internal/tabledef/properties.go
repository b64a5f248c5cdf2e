package tabledef

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go/table"
)

// refusedProperties are those that this program sets itself, and those that say
// where files lie, which removing orphans depends on.
var refusedProperties = append([]string{
	table.WriteDataPathKey, table.WriteMetadataPathKey, table.WriteMetadataLocationKey, table.ObjectStoreEnabledKey,
}, table.ReservedProperties[:]...)

// propertyValues holds the values that Iceberg's own properties can have. A
// property that is not here takes any text.
// https://iceberg.apache.org/docs/latest/configuration/
var propertyValues = map[string]propertyValue{
	table.WriteTargetFileSizeBytesKey:    positive("bytes"),
	"write.parquet.row-group-size-bytes": positive("bytes"),
	"write.parquet.page-size-bytes":      positive("bytes"),
	"write.parquet.page-row-limit":       positive("rows"),
	"write.parquet.dict-size-bytes":      positive("bytes"),
	table.ManifestTargetSizeBytesKey:     positive("bytes"),
	table.ManifestMinMergeCountKey:       positive("manifests"),
	table.MinSnapshotsToKeepKey:          positive("snapshots"),
	table.MaxSnapshotAgeMsKey:            positive("milliseconds"),
	table.MaxRefAgeMsKey:                 positive("milliseconds"),
	table.MetadataPreviousVersionsMaxKey: positive("files"),

	table.GCEnabledKey:                        oneOf("true", "false"),
	table.MetadataDeleteAfterCommitEnabledKey: oneOf("true", "false"),
	table.ManifestMergeEnabledKey:             oneOf("true", "false"),
	// The library knows zstd too, which no other engine reads.
	table.MetadataCompressionKey:  oneOf(table.MetadataCompressionCodecNone, table.MetadataCompressionCodecGzip),
	table.ParquetCompressionKey:   oneOf("zstd", "snappy", "gzip", "brotli", "lz4", "uncompressed"),
	table.WriteFormatDefaultKey:   oneOf("parquet"),
	"write.delete.format.default": oneOf("parquet"),
	table.WriteDeleteModeKey:      oneOf("copy-on-write", "merge-on-read"),
	"write.update.mode":           oneOf("copy-on-write", "merge-on-read"),
	"write.merge.mode":            oneOf("copy-on-write", "merge-on-read"),
	"write.distribution-mode":     oneOf("none", "hash", "range"),

	"write.parquet.compression-level": matching(`-?[0-9]{1,2}`, "a level, as in 3"),
	table.DefaultWriteMetricsModeKey:  matching(`none|counts|full|truncate\([1-9][0-9]*\)`, "none, counts, full or truncate(N)"),
}

// A propertyValue says what a value must be, "" when it is valid.
type propertyValue func(value string) string

func positive(of string) propertyValue {
	return func(value string) string {
		if n, err := strconv.ParseInt(value, 10, 64); err == nil && n > 0 {
			return ""
		}
		return "a number of " + of
	}
}

func oneOf(values ...string) propertyValue {
	return func(value string) string {
		if slices.Contains(values, value) {
			return ""
		}
		return strings.Join(values, " or ")
	}
}

func matching(pattern, form string) propertyValue {
	fullPattern := regexp.MustCompile("^(" + pattern + ")$")
	return func(value string) string {
		if fullPattern.MatchString(value) {
			return ""
		}
		return form
	}
}

// CheckProperty returns the reason why a user may not set a table property, nil
// if they may.
func CheckProperty(key, value string) error {
	switch {
	case key == "":
		return errors.New("a property must have a name")
	case strings.HasPrefix(key, "airbyte."), slices.Contains(refusedProperties, key):
		return errors.New("this program sets it itself or relies on it")
	}
	return checkValue(key, value)
}

func checkValue(key, value string) error {
	check, known := propertyValues[key]
	if !known {
		return nil
	}
	if form := check(value); form != "" {
		return fmt.Errorf("it must be %s, and is %q", form, value)
	}
	return nil
}

// CheckProperties refuses a table with a property, set by another program, that
// would make every commit fail.
func (d Definition) CheckProperties(loaded *table.Table) error {
	const key = table.MetadataCompressionKey
	if value, set := loaded.Properties()[key]; set && value != table.MetadataCompressionCodecZstd {
		if err := checkValue(key, value); err != nil {
			return d.configError(err, "The property %s of table %s cannot be used: %v. Change it with the program that set it, or under \"properties\" of the configuration's \"streams\".", key, d, err)
		}
	}
	return nil
}
