// Package inspect shows what any Iceberg table holds, whoever wrote it: its rows as
// readers see them, and the files that it consists of. Its tests are those of
// package lake, which fills the tables.
package inspect

import (
	"context"
	"fmt"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// Info is what a table consists of.
type Info struct {
	Rows            int64     `json:"rows"` // that readers see
	DataFiles       int       `json:"data_files"`
	PositionDeletes int       `json:"position_delete_files"` // deletion vectors too
	EqualityDeletes int       `json:"equality_delete_files"` // never written by this program
	Bytes           int64     `json:"bytes"`                 // of all those files
	Snapshots       int       `json:"snapshots"`
	LastCommit      time.Time `json:"last_commit"`            // zero when nothing was ever committed
	PartitionBy     []string  `json:"partition_by,omitempty"` // as a configuration says it
	SortBy          []string  `json:"sort_by,omitempty"`
}

// Describe looks at a table's current snapshot. Its count of rows takes
// position deletes at their word; equality deletes it cannot count.
func Describe(ctx context.Context, tbl *table.Table) (Info, error) {
	return DescribeFiles(ctx, tbl, func(iceberg.DataFile) {})
}

// DescribeFiles is Describe, and also calls each for every data and delete file.
func DescribeFiles(ctx context.Context, tbl *table.Table, each func(iceberg.DataFile)) (Info, error) {
	info := Info{Snapshots: len(tbl.Metadata().Snapshots())}
	info.PartitionBy, info.SortBy = tabledef.Clauses(tbl.Metadata())
	snapshot := tbl.CurrentSnapshot()
	if snapshot == nil {
		return info, nil
	}
	info.LastCommit = time.UnixMilli(snapshot.TimestampMs).UTC()
	files, err := tbl.FS(ctx)
	if err != nil {
		return info, fmt.Errorf("describing table: %w", err)
	}
	manifests, err := snapshot.Manifests(files)
	if err != nil {
		return info, fmt.Errorf("describing table: %w", err)
	}
	for _, m := range manifests {
		if err := ctx.Err(); err != nil {
			return info, err
		}
		for entry, err := range m.Entries(files, true) {
			if err != nil {
				return info, fmt.Errorf("describing table: reading %s: %w", m.FilePath(), err)
			}
			f := entry.DataFile()
			each(f)
			info.Bytes += f.FileSizeBytes()
			switch f.ContentType() {
			case iceberg.EntryContentData:
				info.DataFiles++
				info.Rows += f.Count()
			case iceberg.EntryContentPosDeletes:
				info.PositionDeletes++
				info.Rows -= f.Count()
			default:
				info.EqualityDeletes++
			}
		}
	}
	return info, nil
}
