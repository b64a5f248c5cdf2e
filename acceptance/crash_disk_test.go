//go:build acceptance

package acceptance

import (
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A disk that fills up, wherever that is: what was echoed is there, the TRACE names the remedy, and
// when there is room the feed goes on from its tables.
func TestFullDisk(t *testing.T) {
	t.Parallel()
	for _, room := range []int64{0, 30, 100, 300, 1000, 3000} { // KiB
		t.Run(fmt.Sprint(room, " KiB"), func(t *testing.T) {
			l := newLake(t, t.TempDir(), smallCommits)
			if err := os.Mkdir(l.dir, 0o755); err != nil {
				t.Fatal(err)
			}
			mount := func(flags uintptr, bytes int64) error {
				return syscall.Mount("tmpfs", l.dir, "tmpfs", flags, fmt.Sprint("size=", bytes))
			}
			const enough = 1 << 30
			err := mount(0, enough)
			if errors.Is(err, syscall.EPERM) || errors.Is(err, syscall.EACCES) {
				t.Fatalf("a disk of limited size cannot be mounted (%v): run the test as root, or with unshare --map-root-user --mount", err)
			}
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := syscall.Unmount(l.dir, 0); err != nil {
					t.Error(err)
				}
			}()
			resize := func(bytes int64) {
				if err := mount(syscall.MS_REMOUNT, bytes); err != nil {
					t.Fatal(err)
				}
			}
			s := shortage{begin: func() {
				var disk syscall.Statfs_t
				if err := syscall.Statfs(l.dir, &disk); err != nil {
					t.Fatal(err)
				}
				resize(int64(disk.Blocks-disk.Bfree)*disk.Bsize + room<<10)
			}, end: func() { resize(enough) }}
			s.strike(l, olderFeed, newerFeed)
		})
	}
}

// The same where it is the files that may not grow: those of the catalog, or those of the table.
func TestFilesThatMayNotGrow(t *testing.T) {
	t.Parallel()
	for _, kibibytes := range []int64{8, 400} {
		t.Run(fmt.Sprint(kibibytes, " KiB"), func(t *testing.T) {
			l := newLake(t, t.TempDir(), nil) // nothing is due before the end
			s := shortage{begin: func() { l.largest = kibibytes << 10 }, end: func() { l.largest = 0 }}
			s.strike(l, feed{}, feed{lengths: map[string]int{"log": 400_000}})
		})
	}
}

// A shortage is one of space, from begin to end.
type shortage struct{ begin, end func() }

// strike runs a feed where space is short, and again when it no longer is.
func (s shortage) strike(l *lake, older, f feed) {
	t := l.t
	t.Helper()
	if older.lengths != nil {
		if a := older.try(l, older.configure(l), nil, stop{}); a.run.Code != 0 {
			t.Fatalf("exit code %d: %s", a.run.Code, a.run.Stdout)
		}
	}
	catalog := f.configure(l)
	s.begin()
	began := time.Now()
	a := f.try(l, catalog, nil, stop{})
	t.Logf("echoed %v in %v", a.echoed, time.Since(began).Round(time.Millisecond))
	errs := a.run.Errors()
	if a.run.Code != 1 || len(errs) == 0 {
		t.Fatalf("exit code %d, %s", a.run.Code, last(a.run.Stdout, 4000))
	}
	for _, e := range errs {
		t.Logf("%s: %s", e.FailureType, e.Message)
		if e.FailureType == protocol.SystemError || !strings.Contains(e.Message, "whoop.") && !strings.Contains(e.Message, "catalog.db") {
			t.Errorf("the TRACE does not say what to do: %s", e.Message)
		}
	}
	s.end()
	positions := l.positions(catalog)
	newProgress(older, f, true).want(l, a.echoed, positions)
	delete(positions, "totals")
	if again := f.try(l, catalog, positions, stop{}); again.run.Code != 0 {
		t.Fatalf("exit code %d: %s", again.run.Code, last(again.run.Stdout, 4000))
	}
	l.wantWhole(f, true)
}
