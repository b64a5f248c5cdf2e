package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// refusing keeps snapshots waiting, and then fails as a disk does.
type refusing struct {
	catalog.Catalog
	after <-chan struct{}
}

func (c refusing) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	if !slices.ContainsFunc(updates, func(u table.Update) bool { return u.Action() == table.UpdateAddSnapshot }) {
		return c.Catalog.CommitTable(ctx, id, reqs, updates)
	}
	<-c.after
	return nil, "", fmt.Errorf("%w: %w", storage.ErrNotCommitted, syscall.EIO)
}

// When a commit fails, the next one may have its files already, and is not made.
func TestFilesOfACommitThatIsNotMadeAreRemoved(t *testing.T) {
	l := newTestLake(t, workload{mode: protocol.AppendDedup})
	synctest.Test(t, func(t *testing.T) {
		failing := make(chan struct{})
		d := newDestination()
		d.openCatalog = func(ctx context.Context, c Config) (*catalogs.Catalog, error) {
			cat, err := c.openCatalog(ctx)
			if err == nil {
				cat.Backend = refusing{cat.Backend, failing}
			}
			return cat, err
		}
		input, feed := io.Pipe()
		code := goroutine.Start(func() error {
			if code := d.run(t.Context(), cli.Env{
				Args: []string{"write", "--config", l.config, "--catalog", l.catalog}, Stdin: input, Stdout: io.Discard, Stderr: io.Discard,
			}); code == 0 {
				return errors.New("exit code 0")
			}
			return nil
		})
		for n := range 2 {
			if _, err := feed.Write(l.input(n*fedEvery, (n+1)*fedEvery, "")); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second) // until nothing more happens
		}
		data := func() []string {
			found, err := filepath.Glob(filepath.Join(l.dir, "whoop.db", "items", "data", "*"))
			if err != nil {
				t.Fatal(err)
			}
			return found
		}
		if files := data(); len(files) < 2 {
			t.Errorf("the commits have the files %v", files)
		}
		close(failing)
		if err := errors.Join(feed.Close(), <-code); err != nil {
			t.Error(err)
		}
		if files := data(); len(files) > 0 {
			t.Errorf("%v are left", files)
		}
	})
}

// The rows of a complete stream become visible while the source waits for its API.
func TestACompleteStreamIsCommittedWhileTheInputRests(t *testing.T) {
	l := newTestLake(t, workload{mode: protocol.AppendDedup})
	synctest.Test(t, func(t *testing.T) {
		input, feed := io.Pipe()
		var stdout bytes.Buffer
		code := goroutine.Start(func() error {
			if code := newDestination().run(t.Context(), cli.Env{
				Args: []string{"write", "--config", l.config, "--catalog", l.catalog}, Stdin: input, Stdout: &stdout, Stderr: io.Discard,
			}); code != 0 {
				return fmt.Errorf("exit code %d", code)
			}
			return nil
		})
		echoes := func(ending string) int {
			if _, err := io.WriteString(feed, ending); err != nil {
				t.Fatal(err)
			}
			time.Sleep(10 * time.Second)
			synctest.Wait()
			return bytes.Count(stdout.Bytes(), []byte(`"type":"STATE"`))
		}
		if n := echoes(string(l.input(0, fedEvery-1, ""))); n != 0 {
			t.Errorf("%d states are echoed before the stream is complete and a commit is due", n)
		}
		if n := echoes(fedComplete); n != 1 {
			t.Errorf("%d states are echoed after the stream is complete, want one", n)
		}
		if err := errors.Join(feed.Close(), <-code); err != nil {
			t.Error(err)
		}
	})
}
