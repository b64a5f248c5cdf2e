package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"

	"github.com/apache/arrow-go/v18/parquet/compress"
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
)

// A fault is what befalls one call of the catalog or of the file system.
type fault string

const (
	failsBefore fault = "fails before it has an effect"
	failsAfter  fault = "fails after its effect"
	hangs       fault = "hangs"
	diskFull    fault = "finds the disk full, as do all after it"
	breaksDown  fault = "fails, as do all after it"
	panics      fault = "panics"
	interrupts  fault = "comes when the run is told to stop"
)

// faults counts the calls of one run, and strikes one of them.
type faults struct {
	kind fault
	at   int    // the call that is struck, from 0
	only string // if not empty: the first call of this name, instead

	interrupt func() // tells the run to stop

	mu    sync.Mutex
	calls []string
	over  chan struct{} // closed when what hangs ends; made in the run's bubble of time
}

// end ends what hangs, after the run.
func (f *faults) end() {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.over != nil {
		close(f.over)
	}
}

// A striking is what becomes of one call.
type striking int

const (
	spared striking = iota
	struckBefore
	struckAfter
	struckDumb
)

// faultsOf are the ways in which call n can fail. One that changes nothing has no effect to fail before or
// after, and there are many: each of them fails in one of the ways there are, in turn.
func faultsOf(call string, n int) []fault {
	switch call {
	case "LoadTable", "CheckNamespaceExists", "ListNamespaces", "ListTables":
		return []fault{failsBefore, hangs, breaksDown, panics}[n%4 : n%4+1]
	case "Open", "Read", "ReadFile", "WalkDir": // the library reads in goroutines of its own, which nobody can recover
		return []fault{failsBefore, hangs, breaksDown}[n%3 : n%3+1]
	case "Remove":
		return []fault{failsBefore, failsAfter, hangs, breaksDown, panics}
	}
	return []fault{failsBefore, failsAfter, hangs, breaksDown, diskFull, panics}
}

// next counts a call and says what becomes of it, with the error to return.
func (f *faults) next(name string) (striking, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := len(f.calls)
	f.calls = append(f.calls, name)
	if f.only != "" {
		if name != f.only {
			return spared, nil
		}
		f.at, f.only = n, ""
	}
	if n == f.at && f.kind == interrupts {
		f.interrupt()
	}
	if n == f.at && f.kind == panics {
		panic(aPanic)
	}
	failure := errLost
	switch later := n > f.at; {
	case n < f.at, f.kind == interrupts, later && f.kind != diskFull && f.kind != breaksDown:
		return spared, nil
	case f.kind == diskFull:
		if !slices.Contains(faultsOf(name, n), diskFull) {
			return spared, nil
		}
		failure = syscall.ENOSPC
	case f.kind == hangs:
		f.over = make(chan struct{})
		return struckDumb, failure
	case f.kind == failsAfter:
		return struckAfter, failure
	}
	return struckBefore, failure
}

var errLost = errors.New("connection lost")

const aPanic = "a bug in a library"

// call does a call of the catalog, which may hang until ctx ends.
func (f *faults) call(ctx context.Context, name string, do func() error) error {
	s, err := f.next(name)
	switch s {
	case struckAfter:
		return errors.Join(err, do())
	case struckDumb:
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-f.over:
			return err
		}
	case struckBefore:
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
	case struckAfter:
		return errors.Join(failure, do())
	case struckDumb:
		<-f.over
		return failure
	case struckBefore:
		return failure
	}
	return do()
}

// faultyCatalog strikes calls of a catalog.
type faultyCatalog struct {
	catalog.Catalog
	faults *faults
}

func (c faultyCatalog) CreateNamespace(ctx context.Context, id table.Identifier, props iceberg.Properties) error {
	return c.faults.call(ctx, "CreateNamespace", func() error { return c.Catalog.CreateNamespace(ctx, id, props) })
}

func (c faultyCatalog) CheckNamespaceExists(ctx context.Context, id table.Identifier) (there bool, err error) {
	err = c.faults.call(ctx, "CheckNamespaceExists", func() error {
		there, err = c.Catalog.CheckNamespaceExists(ctx, id)
		return err
	})
	return there, err
}

func (c faultyCatalog) CreateTable(ctx context.Context, id table.Identifier, s *iceberg.Schema, opts ...catalog.CreateTableOpt) (t *table.Table, err error) {
	err = c.faults.call(ctx, "CreateTable", func() error {
		t, err = c.Catalog.CreateTable(ctx, id, s, opts...)
		return err
	})
	return t, err
}

func (c faultyCatalog) LoadTable(ctx context.Context, id table.Identifier) (t *table.Table, err error) {
	err = c.faults.call(ctx, "LoadTable", func() error {
		t, err = c.Catalog.LoadTable(ctx, id)
		return err
	})
	return t, err
}

func (c faultyCatalog) IsCurrent(ctx context.Context, t *table.Table) (current bool, err error) {
	err = c.faults.call(ctx, "IsCurrent", func() error {
		current, err = c.Catalog.(catalogs.Teller).IsCurrent(ctx, t)
		return err
	})
	return current, err
}

func (c faultyCatalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (meta table.Metadata, location string, err error) {
	err = c.faults.call(ctx, "CommitTable", func() error {
		meta, location, err = c.Catalog.CommitTable(ctx, id, reqs, updates)
		return err
	})
	return meta, location, err
}

func (c faultyCatalog) ListNamespaces(ctx context.Context, parent table.Identifier) (ids []table.Identifier, err error) {
	err = c.faults.call(ctx, "ListNamespaces", func() error {
		ids, err = c.Catalog.ListNamespaces(ctx, parent)
		return err
	})
	return ids, err
}

func (c faultyCatalog) ListTables(ctx context.Context, namespace table.Identifier) iter.Seq2[table.Identifier, error] {
	return func(yield func(table.Identifier, error) bool) {
		if err := c.faults.call(ctx, "ListTables", func() error { return nil }); err != nil {
			yield(nil, err)
			return
		}
		c.Catalog.ListTables(ctx, namespace)(yield)
	}
}

func (c faultyCatalog) DropTable(ctx context.Context, id table.Identifier) error {
	return c.faults.call(ctx, "DropTable", func() error { return c.Catalog.DropTable(ctx, id) })
}

// faultyCloser strikes the closing of a catalog, which nothing interrupts.
type faultyCloser struct {
	catalog.Closer
	faults *faults
}

// Close closes the catalog also when it fails.
func (c faultyCloser) Close() error {
	sound := sync.OnceValue(c.Closer.Close)
	defer func() { _ = sound() }()
	return c.faults.call(context.Background(), "CloseCatalog", sound)
}

// localFiles is what catalogs gives the library for local files.
type localFiles interface {
	iceio.WriteFileIO
	iceio.ReadFileIO
	iceio.ListableIO
	CreateScratch(name string) (iceio.FileWriter, error)
}

// faultyFiles strikes calls of a file system.
type faultyFiles struct {
	localFiles
	faults *faults
}

func (f faultyFiles) Open(name string) (file iceio.File, err error) {
	err = f.faults.file("Open", name, func() error {
		file, err = f.localFiles.Open(name)
		return err
	})
	return faultyReader{file, name, f.faults}, err
}

func (f faultyFiles) ReadFile(name string) (content []byte, err error) {
	err = f.faults.file("ReadFile", name, func() error {
		content, err = f.localFiles.ReadFile(name)
		return err
	})
	return content, err
}

func (f faultyFiles) Create(name string) (iceio.FileWriter, error) {
	return f.create("Create", name, f.localFiles.Create)
}

func (f faultyFiles) CreateScratch(name string) (iceio.FileWriter, error) {
	return f.create("CreateScratch", name, f.localFiles.CreateScratch)
}

func (f faultyFiles) create(call, name string, create func(string) (iceio.FileWriter, error)) (w iceio.FileWriter, err error) {
	err = f.faults.file(call, name, func() error {
		w, err = create(name)
		return err
	})
	if err != nil {
		if w != nil {
			_ = w.Close()
		}
		return nil, err
	}
	return faultyWriter{w, name, f.faults}, nil
}

func (f faultyFiles) WriteFile(name string, content []byte) error {
	w, err := f.Create(name)
	if err != nil {
		return err
	}
	_, err = w.Write(content)
	return errors.Join(err, w.Close())
}

func (f faultyFiles) Remove(name string) error {
	return f.faults.file("Remove", name, func() error { return f.localFiles.Remove(name) })
}

func (f faultyFiles) WalkDir(root string, do fs.WalkDirFunc) error {
	return f.faults.file("WalkDir", root, func() error { return f.localFiles.WalkDir(root, do) })
}

type faultyReader struct {
	iceio.File
	name   string
	faults *faults
}

func (r faultyReader) Read(p []byte) (n int, err error) {
	err = r.faults.file("Read", r.name, func() error {
		n, err = r.File.Read(p)
		return err
	})
	return n, err
}

func (r faultyReader) ReadAt(p []byte, at int64) (n int, err error) {
	err = r.faults.file("Read", r.name, func() error {
		n, err = r.File.ReadAt(p, at)
		return err
	})
	return n, err
}

type faultyWriter struct {
	iceio.FileWriter
	name   string
	faults *faults
}

// Write writes half when it fails before its effect.
func (w faultyWriter) Write(p []byte) (n int, err error) {
	err = w.faults.file("Write", w.name, func() error {
		n, err = w.FileWriter.Write(p)
		return err
	})
	if err != nil && n == 0 {
		n, _ = w.FileWriter.Write(p[:len(p)/2])
	}
	return n, err
}

func (w faultyWriter) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, r)
}

// Close closes the file also when it fails, as the system does.
func (w faultyWriter) Close() (err error) {
	closed := false
	err = w.faults.file("Close", w.name, func() error {
		closed = true
		return w.FileWriter.Close()
	})
	if !closed {
		_ = w.FileWriter.Close()
	}
	return err
}

// struckBy is the destination with one call of it struck.
func struckBy(f *faults) destination {
	d := newDestination()
	open := d.openCatalog
	d.openCatalog = func(ctx context.Context, c Config) (*catalogs.Catalog, error) {
		warehouse, err := url.Parse(c.Warehouse)
		if err != nil {
			return nil, err
		}
		var cat *catalogs.Catalog
		if err := f.call(ctx, "OpenCatalog", func() (err error) {
			cat, err = open(ctx, c)
			return err
		}); err != nil {
			if cat != nil {
				err = errors.Join(err, cat.Close())
			}
			return nil, err
		}
		cat.Catalog, cat.Closer = faultyCatalog{cat.Catalog, f}, faultyCloser{cat.Closer, f}
		strikes.Store(warehouse.Path, f)
		return cat, nil
	}
	return d
}

// strikes holds the faults of the runs under way, by the directories of their warehouses.
var strikes sync.Map

// strikeFiles puts faultyFiles in the place of local files, for the warehouses in strikes.
var strikeFiles = sync.OnceValue(func() error {
	ctx := context.Background()
	// Opening any catalog puts ours in the library's place.
	if _, err := catalogs.OpenExisting(ctx, catalogs.Config{Type: "sqlite"}, "file:///nowhere"); !errors.Is(err, catalogs.ErrNone) {
		return err
	}
	plain, err := iceio.LoadFS(ctx, nil, "file:///nowhere")
	if err != nil {
		return err
	}
	files, ok := plain.(localFiles)
	if !ok {
		return errors.New("the local files lack what they had")
	}
	iceio.Unregister("file")
	iceio.Register("file", func(_ context.Context, u *url.URL, _ map[string]string) (iceio.IO, error) {
		var found *faults
		strikes.Range(func(dir, f any) bool {
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

// oneZstd compresses with one encoder for the whole process, which was made outside of any bubble of time.
// The encoders of the library's pool are made when there is need, and one made inside a bubble cannot be used
// outside of it.
type oneZstd struct{ compress.Codec }

func (c oneZstd) EncodeLevel(dst, src []byte, _ int) []byte { return c.Encode(dst, src) }

var useOneZstd = sync.OnceValue(func() error {
	plain, err := compress.GetCodec(compress.Codecs.Zstd)
	if err != nil {
		return err
	}
	if text := plain.Decode(nil, plain.Encode(nil, []byte("warm"))); string(text) != "warm" {
		return fmt.Errorf("zstd makes %q of itself", text)
	}
	compress.RegisterCodec(compress.Codecs.Zstd, oneZstd{plain})
	return nil
})
