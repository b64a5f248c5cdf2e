package report

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/charts"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// A Table is what a page shows of a table. If Error is not "", it could not be read, and
// the rest may be missing.
type Table struct {
	Name     string
	Error    string
	Stream   string // "" if another program made the table
	Comment  string
	Location string
	Format   int // version of the table format
	inspect.Info
	DeletedRows int64 // that position deletes hide
	FileSizes   []SizeClass
	Columns     []Column
	Schemas     []SchemaChange // the newest first
	Commits     []Commit       // the newest first, some of them
	Snapshots   Snapshots
	Histories   []charts.Chart
	State       *State
	Changes     *Changes // nil: the table has no column for them
	Maintenance Maintenance
}

// Describe looks at a table. What it could read is in the result also if it fails.
func Describe(ctx context.Context, tbl *table.Table) (Table, error) {
	meta := tbl.Metadata()
	t := Table{
		Name: strings.Join(tbl.Identifier(), "."), Location: tbl.Location(), Format: meta.Version(), Comment: tbl.Properties()["comment"],
		Columns: columnsOf(meta), Schemas: schemaChanges(tbl),
	}
	commits, snapshots := commitsOf(tbl)
	t.Snapshots, t.Histories = snapshots, histories(commits)
	t.Commits = commits[:min(len(commits), shownCommits)]
	stream, _, err := tabledef.Owner(tbl)
	if err != nil {
		return t, err
	}
	t.Stream = stream.String()
	sizes := newSizeClasses()
	t.Info, err = inspect.DescribeFiles(ctx, tbl, func(f iceberg.DataFile) {
		switch f.ContentType() {
		case iceberg.EntryContentData:
			sizes.add(f.FileSizeBytes())
		case iceberg.EntryContentPosDeletes:
			t.DeletedRows += f.Count()
		}
	})
	if err != nil {
		return t, err
	}
	t.FileSizes = sizes.shown()
	if t.State, err = stateOf(ctx, tbl); err != nil {
		return t, err
	}
	t.Changes, err = changesOf(ctx, tbl)
	return t, err
}

// deleteFiles is how many delete files of any kind there are.
func (t Table) deleteFiles() int { return t.PositionDeletes + t.EqualityDeletes }

// Maintenance is what maintenance would do to a table.
type Maintenance struct {
	maintenance.Report
	Unknown string // why it is not known; "": it is
}

// isDue reports whether there is anything to do.
func (m Maintenance) isDue() bool {
	return m.CompactedFiles+m.ExpiredSnapshots+m.RemovedOrphans > 0
}

// sentences say what would be done.
func (m Maintenance) sentences() (all []string) {
	if m.CompactedFiles > 0 {
		text := fmt.Sprintf("Rewrite %s (%s) into about %s", terminal.Counted(int64(m.CompactedFiles), "data files"), terminal.Size(m.CompactedBytes), terminal.Number(int64(m.IntoFiles)))
		if m.FoldedDeletes > 0 {
			text += ", and apply " + terminal.Counted(int64(m.FoldedDeletes), "delete files")
		}
		all = append(all, text+".")
	}
	if m.ExpiredSnapshots > 0 {
		all = append(all, fmt.Sprintf("Expire %s, and remove the files that only they name.", terminal.Counted(int64(m.ExpiredSnapshots), "snapshots")))
	}
	if m.RemovedOrphans > 0 {
		all = append(all, fmt.Sprintf("Remove %s that nothing names.", terminal.Counted(int64(m.RemovedOrphans), "files")))
	}
	for _, why := range m.NotDone {
		all = append(all, "Not done: "+why+".")
	}
	return all
}

// A SizeClass is the data files of about one size.
type SizeClass struct {
	From, To int64 // bytes; To is 0 for the last one
	Files    int
	Bytes    int64
	Percent  float64 // of the most files in a class
}

// label names the class.
func (s SizeClass) label() string {
	whole := func(bytes int64) string { return strings.Replace(terminal.Size(bytes), ".0", "", 1) }
	switch {
	case s.From == 0:
		return "below " + whole(s.To)
	case s.To == 0:
		return whole(s.From) + " and more"
	}
	return whole(s.From) + " to " + whole(s.To)
}

type sizeClasses []SizeClass

// newSizeClasses has the limits of compaction: files are merged with those of their class.
func newSizeClasses() sizeClasses {
	var all sizeClasses
	from := int64(0)
	for to := int64(64 << 10); to <= 256<<20; to *= 8 {
		all = append(all, SizeClass{From: from, To: to})
		from = to
	}
	return append(all, SizeClass{From: from})
}

func (all sizeClasses) add(bytes int64) {
	for i := range all {
		if c := &all[i]; bytes < c.To || c.To == 0 {
			c.Files++
			c.Bytes += bytes
			return
		}
	}
}

// shown are the classes from the first to the last one that has files.
func (all sizeClasses) shown() []SizeClass {
	first, last, most := len(all), -1, 0
	for i, c := range all {
		if c.Files > 0 {
			first, last, most = min(first, i), i, max(most, c.Files)
		}
	}
	if last < 0 {
		return nil
	}
	for i := range all {
		all[i].Percent = 100 * float64(all[i].Files) / float64(most)
	}
	return all[first : last+1]
}

func fromMillis(ms int64) time.Time { return time.UnixMilli(ms).UTC() }
