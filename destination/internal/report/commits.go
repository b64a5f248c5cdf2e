package report

import (
	"fmt"
	"slices"
	"time"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/charts"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rollback"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

const (
	// shownCommits is how many commits a page lists.
	shownCommits = 20
	// shownPoints is how many commits its charts show.
	shownPoints = 200
)

// A Commit is a snapshot that readers saw, or see.
type Commit struct {
	Snapshot  int64
	At        time.Time
	Operation string
	Added     int64 // rows, also those that a rewritten file has again
	Removed   int64 // the same
	Totals
}

// Totals are what a table has after a commit, as the commit says; Known is false if it
// says nothing.
type Totals struct {
	Known bool
	Rows  int64
	Files int64 // data and delete files
	Bytes int64
}

// Snapshots says how many there are.
type Snapshots struct {
	Listed  int // ancestors of the current one, and itself
	All     int // also those of branches, and what was rolled back
	Expired bool
}

// commitsOf lists the commits to a table, the newest first, and says how many snapshots
// there are.
func commitsOf(tbl *table.Table) ([]Commit, Snapshots) {
	ancestors := rollback.Ancestors(tbl)
	counted := Snapshots{Listed: len(ancestors), All: len(tbl.Metadata().Snapshots())}
	if counted.Listed > 0 {
		counted.Expired = ancestors[counted.Listed-1].ParentSnapshotID != nil
	}
	var all []Commit
	for _, s := range ancestors {
		all = append(all, commitOf(s))
	}
	return all, counted
}

func commitOf(s *table.Snapshot) Commit {
	c := Commit{Snapshot: s.SnapshotID, At: fromMillis(s.TimestampMs)}
	if s.Summary == nil {
		return c
	}
	c.Operation = string(s.Summary.Operation)
	number := func(key string) int64 { return s.Summary.Properties.GetInt64(key, 0) }
	c.Added = number("added-records")
	c.Removed = number("deleted-records") + number("added-position-deletes") - number("removed-position-deletes")
	if total := s.Summary.Properties.GetInt64("total-records", -1); total >= 0 {
		c.Totals = Totals{
			Known: true, Rows: total - number("total-position-deletes"), Bytes: number("total-files-size"),
			Files: number("total-data-files") + number("total-delete-files"),
		}
	}
	return c
}

// histories are the charts of a table's own history, by its commits, the newest of which is
// the first. There are none if there is little to see.
func histories(commits []Commit) []charts.Chart {
	commits = slices.DeleteFunc(slices.Clone(commits), func(c Commit) bool { return !c.Known })
	if len(commits) < 3 {
		return nil
	}
	step := (len(commits) + shownPoints - 1) / shownPoints
	rows := charts.Chart{Title: "Rows", Kind: "step", Lines: []charts.Series{{Label: "rows"}}}
	size := charts.Chart{Title: "Size of the files", Kind: "step", Unit: "B", Lines: []charts.Series{{Label: "size"}}}
	for i := 0; i < len(commits); i += step {
		c := commits[i]
		for _, of := range []struct {
			chart *charts.Chart
			value int64
		}{{&rows, c.Rows}, {&size, c.Bytes}} {
			of.chart.Times = append(of.chart.Times, float64(c.At.UnixMilli())/1000)
			of.chart.Lines[0].Values = append(of.chart.Lines[0].Values, float64(of.value))
		}
	}
	note := fmt.Sprintf("After each of %s.", terminal.Counted(int64(len(commits)), "commits"))
	if step > 1 {
		note = fmt.Sprintf("After one of every %d of %s.", step, terminal.Counted(int64(len(commits)), "commits"))
	}
	for _, c := range []*charts.Chart{&rows, &size} {
		slices.Reverse(c.Times)
		slices.Reverse(c.Lines[0].Values)
		c.Notes = []string{note}
	}
	return []charts.Chart{rows, size}
}
