package laketest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// Outcome is what a faulty catalog does with one commit.
type Outcome int

const (
	Takes            Outcome = iota // the commit and says so
	Refuses                         // for certain
	LandsSilently                   // Takes the commit and says nothing
	FailsSilently                   // does not take it and says nothing
	LetsOthersFirst                 // commits another writer's rows, then hands this commit on
	LandsThenOthers                 // takes the commit, then another's, and says nothing
	DiesAfterLanding                // takes the commit, says nothing, and the run is cancelled
	LiesOfLanding                   // does not take the commit and answers with the table as it was
	FailsLanded                     // takes the commit and answers, when it comes again, that there are no rights
	RefusesLanded                   // takes the commit, and refuses it when a gateway sends it again
	RefusesOvertaken                // the same, and another writer commits in between
	RefusesAndDies                  // takes the commit, refuses it when it comes again, and the run is cancelled
)

var ErrConnection = errors.New("connection reset by peer")

// Faulty does with the n-th commit what script says, and takes the rest.
type Faulty struct {
	lake.Catalog
	Mu     sync.Mutex
	Script []Outcome
	Other  func()
	Cancel context.CancelFunc
}

func (f *Faulty) Next() Outcome {
	f.Mu.Lock()
	defer f.Mu.Unlock()
	if len(f.Script) == 0 {
		return Takes
	}
	o := f.Script[0]
	f.Script = f.Script[1:]
	return o
}

func (f *Faulty) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	land := func() error {
		_, _, err := f.Catalog.CommitTable(ctx, id, reqs, updates)
		return err
	}
	switch f.Next() {
	case Refuses:
		return nil, "", fmt.Errorf("%w: no", table.ErrCommitFailed)
	case FailsSilently:
		return nil, "", ErrConnection
	case LandsSilently:
		return nil, "", errors.Join(ErrConnection, land())
	case DiesAfterLanding:
		f.Cancel()
		return nil, "", errors.Join(ErrConnection, land())
	case LandsThenOthers:
		err := land()
		f.Other()
		return nil, "", errors.Join(ErrConnection, err)
	case LiesOfLanding:
		tbl, err := f.LoadTable(ctx, id)
		return tbl.Metadata(), tbl.MetadataLocation(), err
	case FailsLanded:
		return nil, "", errors.Join(fmt.Errorf("%w: forbidden", storage.ErrNotCommitted), land())
	case RefusesLanded:
		return nil, "", errors.Join(fmt.Errorf("%w: it came again", table.ErrCommitFailed), land())
	case RefusesOvertaken:
		err := land()
		f.Other()
		return nil, "", errors.Join(fmt.Errorf("%w: it came again", table.ErrCommitFailed), err)
	case RefusesAndDies:
		f.Cancel()
		return nil, "", errors.Join(fmt.Errorf("%w: it came again", table.ErrCommitFailed), land())
	case LetsOthersFirst:
		f.Other()
	}
	return f.Catalog.CommitTable(ctx, id, reqs, updates)
}

// ExpectFiles checks that every file a snapshot names is there, and that no
// data file is there that none names, unless some were kept on purpose.
func ExpectFiles(t *testing.T, tbl *lake.Table, keeps bool) {
	t.Helper()
	known := map[string]bool{}
	for _, uri := range Named(t, Load(t, tbl)) {
		known[PathOf(t, uri)] = true
	}
	root := PathOf(t, Load(t, tbl).Location()) + "/data"
	left := 0
	for _, f := range DataFilesOnDisk(t, tbl) {
		if !known[root+f] {
			left++
		}
		delete(known, root+f)
	}
	if keeps && left == 0 {
		t.Error("the staged files are gone, though a commit that names them may still land")
	}
	if !keeps && left > 0 {
		t.Errorf("%d files are left that nothing names", left)
	}
}
