package main

import (
	"context"
	"errors"
	"io/fs"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// A fault is what goes wrong with one call of the catalog or of the file system.
type fault string

const (
	failsBefore fault = "fails before it has an effect"
	failsAfter  fault = "fails after its effect"
	hangs       fault = "hangs"
	diskFull    fault = "finds the disk full, as do all after it"
	breaksDown  fault = "fails, as do all after it"
	panics      fault = "panics"
	cutBefore   fault = "is cut off once, before it has an effect"
	cutAfter    fault = "is cut off once, after its effect"
	interrupts  fault = "comes when the run is told to stop"
)

// faults counts the calls of one run, and makes one of them fail.
type faults struct {
	kind fault
	at   int    // the call that fails, from 0
	only string // if not empty: the first call of this name, instead

	interrupt func() // tells the run to stop

	mu    sync.Mutex
	calls []string
	asked map[string]effect // of requests, by their calls
	ended chan struct{}     // closed when what hangs ends; made in the run's bubble of time
}

// release ends what hangs, after the run.
func (f *faults) release() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.ended != nil {
		close(f.ended)
	}
}

// An effect is what a fault does to one call.
type effect int

const (
	noFault effect = iota
	failBefore
	failAfter
	hang
)

// faultsOf are the ways in which call n can fail. One that changes nothing has no effect to fail before or
// after, and there are many: each of them fails in one of the ways there are, in turn.
func faultsOf(call string, n int) []fault {
	switch call {
	case "GetObject", "HeadObject", "ListObjectsV2", "ListMultipartUploads":
		return []fault{cutBefore, failsBefore, breaksDown}[n%3 : n%3+1]
	case "PutObject", "DeleteObject", "DeleteObjects":
		return []fault{cutBefore, cutAfter, failsBefore, failsAfter, breaksDown}
	case "LoadTable", "CheckNamespaceExists", "ListNamespaces", "ListTables", "Open", "Read", "ReadFile", "WalkDir":
		return []fault{failsBefore, hangs, breaksDown, panics}[n%4 : n%4+1]
	case "Remove":
		return []fault{failsBefore, failsAfter, hangs, breaksDown, panics}
	}
	return []fault{failsBefore, failsAfter, hangs, breaksDown, diskFull, panics}
}

// next counts a call and says what the fault does to it, with the error to return.
func (f *faults) next(name string) (effect, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.calls)
	f.calls = append(f.calls, name)
	if f.only != "" {
		if name != f.only {
			return noFault, nil
		}
		f.at, f.only = n, ""
	}
	if n == f.at && f.kind == interrupts {
		f.interrupt()
	}
	if n == f.at && f.kind == panics {
		panic(panicMessage)
	}
	failure := errLost
	switch later := n > f.at; {
	case n < f.at, f.kind == interrupts, later && f.kind != diskFull && f.kind != breaksDown:
		return noFault, nil
	case f.kind == diskFull:
		if !slices.Contains(faultsOf(name, n), diskFull) {
			return noFault, nil
		}
		failure = syscall.ENOSPC
	case f.kind == hangs:
		f.ended = make(chan struct{})
		return hang, failure
	case f.kind == failsAfter, f.kind == cutAfter:
		return failAfter, failure
	}
	return failBefore, failure
}

var errLost = errors.New("connection lost")

const panicMessage = "a bug in a library"

// call does a call of the catalog, which may hang until ctx ends.
func (f *faults) call(ctx context.Context, name string, do func() error) error {
	s, err := f.next(name)
	switch s {
	case failAfter:
		return errors.Join(err, do())
	case hang:
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.ended:
			return err
		}
	case failBefore:
		return err
	}
	return do()
}

// file does a call of the file system, which hangs for good.
func (f *faults) file(name, path string, do func() error) error {
	s, err := f.next(name)
	failure := &fs.PathError{Op: strings.ToLower(name), Path: path, Err: err}
	if errors.Is(err, errLost) {
		failure.Err = syscall.EIO
	}
	switch s {
	case failAfter:
		return errors.Join(failure, do())
	case hang:
		<-f.ended
		return failure
	case failBefore:
		return failure
	}
	return do()
}

// request is next for a request over HTTP. A client that gets no answer makes the same call with another one.
func (f *faults) request(call, name string) effect {
	f.mu.Lock()
	e, again := f.asked[call]
	f.mu.Unlock()
	if again && (f.kind == cutBefore || f.kind == cutAfter) {
		return noFault
	}
	if !again {
		e, _ = f.next(name)
		f.mu.Lock()
		defer f.mu.Unlock()
		if f.asked == nil {
			f.asked = map[string]effect{}
		}
		f.asked[call] = e
	}
	return e
}

// faultyDestination is the destination with one call of it failing.
func faultyDestination(f *faults) destination {
	d := newDestination()
	open := d.openCatalog
	d.openCatalog = func(ctx context.Context, c Config) (*catalogs.Catalog, error) {
		warehouse, err := url.Parse(c.Warehouse)
		if err != nil {
			return nil, err
		}
		var cat *catalogs.Catalog
		// What hangs may be a file system, which heeds no ctx.
		if err := f.call(context.WithoutCancel(ctx), "OpenCatalog", func() (err error) {
			cat, err = open(ctx, c)
			return err
		}); err != nil {
			if cat != nil {
				err = errors.Join(err, cat.Close())
			}
			return nil, err
		}
		cat.Backend, cat.Closer = faultyCatalog{cat.Backend, f}, faultyCloser{cat.Closer, f}
		faultsByWarehouse.Store(warehouse.Path, f)
		return cat, nil
	}
	return d
}

// faultsByWarehouse holds the faults of the runs under way, by the directories of their warehouses.
var faultsByWarehouse sync.Map

// useFaultyFiles puts faultyFiles in the place of local files, for the warehouses in faultsByWarehouse.
var useFaultyFiles = sync.OnceValue(func() error {
	// Opening any storage puts ours in the library's place.
	local, err := storage.Open(context.Background(), storage.Default(), "file:///nowhere", "")
	if err != nil {
		return err
	}
	files, ok := local.Files().(localFiles)
	if !ok {
		return errors.New("the local files lack what they had")
	}
	iceio.Unregister("file")
	iceio.Register("file", func(_ context.Context, u *url.URL, _ map[string]string) (iceio.IO, error) {
		var found *faults
		faultsByWarehouse.Range(func(dir, f any) bool {
			if strings.HasPrefix(u.Path, dir.(string)+"/") {
				found = f.(*faults)
			}
			return found == nil
		})
		if found == nil {
			return files, nil
		}
		return faultyFiles{files, found}, nil
	})
	return nil
})
