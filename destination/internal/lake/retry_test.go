package lake_test

import (
	"context"
	"encoding/json"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
)

// slowFiles takes a while to create a file.
type slowFiles struct {
	iceio.WriteFileIO
	pause time.Duration
}

func (f slowFiles) Create(path string) (iceio.FileWriter, error) {
	time.Sleep(f.pause)
	return f.WriteFileIO.Create(path)
}

// overtaken takes a while to refuse commits, as if another writer had been faster.
type overtaken struct {
	lake.Catalog
	pause time.Duration
	times int
}

func (c *overtaken) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if c.times == 0 {
		return c.Catalog.CommitTable(ctx, id, reqs, updates)
	}
	c.times--
	time.Sleep(c.pause)
	return nil, "", table.ErrCommitFailed
}

// The five minutes for the attempts of a commit do not count what each of them stages, and a catalog that hardly answers
// gets four all the same.
func TestALongCommitGetsSeveralAttempts(t *testing.T) {
	for name, tt := range map[string]struct {
		staging, refusing time.Duration
		refusals          int
		attempts          int
		done              bool
	}{
		"staging takes long":         {10 * time.Minute, 0, 20, 21, true},
		"the catalog takes long":     {0, 2 * time.Minute, 3, 4, true},
		"the catalog takes too long": {0, 2 * time.Minute, 4, 4, false},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				cat := &overtaken{Catalog: laketest.OpenCatalog(t, t.TempDir()), pause: tt.refusing}
				tbl := openTable(t, cat, laketest.Plain("s"), lake.Options{})
				staged := laketest.Stage(t, tbl, 0, map[string]any{"id": 1, "v": "x"})
				tbl.Storage().Files = slowFiles{tbl.Storage().Files, tt.staging}
				cat.times = tt.refusals
				committed, err := tbl.Commit(t.Context(), []*lake.Staged{staged}, json.RawMessage(`{}`))
				if committed.Attempts != tt.attempts || (err == nil) != tt.done || err != nil && !errors.Is(err, table.ErrCommitFailed) {
					t.Errorf("%d attempts: %v", committed.Attempts, err)
				}
			})
		})
	}
}
