package laketest

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/maintenance"
)

// Everything is maintenance that leaves nothing for later.
var Everything = maintenance.Options{ExpireAfter: time.Nanosecond, KeepSnapshots: 1, Thorough: true}

// Maintain maintains a table.
func Maintain(t testing.TB, tbl *lake.Table, u maintenance.Options) maintenance.Report {
	t.Helper()
	did, err := maintenance.Maintain(t.Context(), tbl, u)
	if err != nil {
		t.Fatal(err)
	}
	return did
}

// Life is how many more times a process reaches its catalog or its files.
type Life struct{ Left int }

var ErrKilled = fmt.Errorf("killed: %w", context.Canceled) // which nothing tries again

func (l *Life) Step() error {
	if l.Left--; l.Left < 0 {
		return ErrKilled
	}
	return nil
}

type MortalFiles struct {
	iceio.LocalFS
	*Life
}

func (f MortalFiles) Open(name string) (iceio.File, error) {
	if err := f.Step(); err != nil {
		return nil, err
	}
	return f.LocalFS.Open(name)
}

func (f MortalFiles) Create(name string) (iceio.FileWriter, error) {
	if err := f.Step(); err != nil {
		return nil, err
	}
	return f.LocalFS.Create(name)
}

func (f MortalFiles) Remove(name string) error {
	if err := f.Step(); err != nil {
		return err
	}
	return f.LocalFS.Remove(name)
}

// AgeFiles makes all files of a table two days old.
func AgeFiles(t *testing.T, tbl *lake.Table) {
	t.Helper()
	old := time.Now().Add(-2 * filenames.OrphanAge)
	err := filepath.WalkDir(PathOf(t, Load(t, tbl).Location()), func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		return os.Chtimes(path, old, old)
	})
	if err != nil {
		t.Fatal(err)
	}
}
