package lake

import (
	"time"

	"github.com/apache/iceberg-go"
)

// What the tests of other packages have no use for.
var (
	GenerationsOf = generationsOf
	MoveTo        = moveTo
	OpenUnbound   = open
)

const (
	BranchPrefix     = branchPrefix
	GenerationColumn = generationColumn
	StateKey         = stateKey
	StateSnapshotKey = stateSnapshotKey
	TokenKey         = tokenKey
)

// SetCatalog puts another catalog in the place of the table's.
func (t *Table) SetCatalog(cat Catalog) { t.cat = cat }

// SetRetries limits the pauses between attempts to commit, and the time for them.
func (t *Table) SetRetries(maxBackoff, commitTimeout time.Duration) {
	t.maxBackoff, t.commitTimeout = maxBackoff, commitTimeout
}

// SetMinRowGroupBytes says which rows are too few for a row group.
func (t *Table) SetMinRowGroupBytes(n int64) { t.minRowGroupBytes = n }

// SetManyHits says how many rows of staged keys are too many for memory.
func (t *Table) SetManyHits(n int64) { t.manyHits = n }

// SetCompletingBytes says how large the files are together that may wait for the storage.
func (t *Table) SetCompletingBytes(n int64) { t.completingBytes = n }

// SetOpened makes the table one that was opened at another time.
func (t *Table) SetOpened(at time.Time) { t.since = at }

// Files is how many files the writer has written since the last Close.
func (w *Writer) Files() int { return len(w.written.files) }

// Rows returns the number of rows written.
func (s *Staged) Rows() int64 {
	var rows int64
	for _, f := range s.files {
		rows += f.data.Count()
	}
	return rows
}

// Files are the files that are staged.
func (s *Staged) Files() []iceberg.DataFile {
	var files []iceberg.DataFile
	for _, f := range s.files {
		files = append(files, f.data)
	}
	return files
}
