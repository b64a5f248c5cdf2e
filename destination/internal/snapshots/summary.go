package snapshots

import (
	"strconv"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// A summary counts what a snapshot adds and removes.
type summary struct{ added, removed fileCounts }

type fileCounts struct{ dataFiles, records, deleteFiles, positionFiles, positions, equalityFiles, equalities, bytes int64 }

func (c *fileCounts) add(f iceberg.DataFile) {
	c.bytes += f.FileSizeBytes()
	switch f.ContentType() {
	case iceberg.EntryContentData:
		c.dataFiles++
		c.records += f.Count()
	case iceberg.EntryContentPosDeletes:
		c.deleteFiles++
		c.positionFiles++
		c.positions += f.Count()
	default:
		c.deleteFiles++
		c.equalityFiles++
		c.equalities += f.Count()
	}
}

func (s *summary) add(f iceberg.DataFile)    { s.added.add(f) }
func (s *summary) remove(f iceberg.DataFile) { s.removed.add(f) }

// after adds the counts, by their names in the Iceberg spec, to the summary of a
// snapshot that follows another, or none. There are no totals after a snapshot whose
// writer left them out: nobody knows what they would be.
func (s *summary) after(parent *table.Snapshot, op table.Operation, props iceberg.Properties) *table.Summary {
	previous := iceberg.Properties{}
	if parent != nil && parent.Summary != nil {
		previous = parent.Summary.Properties
	}
	_, counted := previous["total-records"]
	counted = counted || parent == nil
	for _, n := range []struct {
		added, removed, total string
		plus, minus           int64
	}{
		{"added-data-files", "deleted-data-files", "total-data-files", s.added.dataFiles, s.removed.dataFiles},
		{"added-records", "deleted-records", "total-records", s.added.records, s.removed.records},
		{"added-delete-files", "removed-delete-files", "total-delete-files", s.added.deleteFiles, s.removed.deleteFiles},
		{"added-position-delete-files", "removed-position-delete-files", "", s.added.positionFiles, s.removed.positionFiles},
		{"added-position-deletes", "removed-position-deletes", "total-position-deletes", s.added.positions, s.removed.positions},
		{"added-files-size", "removed-files-size", "total-files-size", s.added.bytes, s.removed.bytes},
		{"added-equality-delete-files", "removed-equality-delete-files", "", s.added.equalityFiles, s.removed.equalityFiles},
		{"added-equality-deletes", "removed-equality-deletes", "total-equality-deletes", s.added.equalities, s.removed.equalities},
	} {
		if n.plus > 0 {
			props[n.added] = strconv.FormatInt(n.plus, 10)
		}
		if n.minus > 0 {
			props[n.removed] = strconv.FormatInt(n.minus, 10)
		}
		if counted && n.total != "" {
			props[n.total] = strconv.FormatInt(max(0, previous.GetInt64(n.total, 0)+n.plus-n.minus), 10)
		}
	}
	return &table.Summary{Operation: op, Properties: props}
}
