package tabledef

import (
	"path"
	"strings"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
)

// Paths are the directories that a table's files belong in. Nothing elsewhere is
// ever removed.
type Paths struct{ Data, Metadata string }

// PathsOf returns the directories of a table at a location.
func PathsOf(location string, meta table.Metadata) Paths {
	at := func(key, name string) string {
		if set := meta.Properties()[key]; set != "" {
			return filenames.Plain(set)
		}
		return filenames.Plain(location) + "/" + name
	}
	return Paths{at(table.WriteDataPathKey, "data"), at(table.WriteMetadataPathKey, "metadata")}
}

// Contain reports whether a file lies in one of the directories.
func (p Paths) Contain(location string) bool {
	plain := filenames.Plain(location)
	return filenames.Within(plain, p.Data) || filenames.Within(plain, p.Metadata)
}

// CheckLocation refuses a table that this program created and that lies outside
// of its catalog's warehouse; "" is any.
func (d Definition) CheckLocation(loaded *table.Table, warehouse string) error {
	if warehouse == "" || loaded.Properties()[streamKey] == "" {
		return nil
	}
	place, root := filenames.ResolveLinks(loaded.Location()), filenames.ResolveLinks(warehouse)
	if filenames.Within(place, root) {
		return nil
	}
	return d.configError(nil, "Table %s is at %s, outside the warehouse %s that contains its catalog: the warehouse was copied or moved. "+
		"Its tables still name the files in the old place, so writing here would change those. Run relocate; then the tables name the files here.", d, loaded.Location(), warehouse)
}

// IsMetadata reports whether a file has the name of a table's metadata.
func IsMetadata(location string) bool {
	name := path.Base(location)
	return strings.HasSuffix(name, ".metadata.json") || strings.Contains(name, ".metadata.json.") || strings.HasSuffix(name, ".gz.metadata.json")
}
