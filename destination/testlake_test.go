package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/arrow-go/v18/arrow"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// A testLake is a workload's warehouse, which is set back to what it was before each run.
type testLake struct {
	t *testing.T
	workload
	dir        string
	saved      string // a copy of the directory; "" while it is made
	config     string // paths
	catalog    string
	read       Config
	configured protocol.ConfiguredCatalog
	s3         *s3Objects // with the files; nil: they are in the directory, too
}

func newTestLake(t *testing.T, w workload) *testLake {
	t.Helper()
	if err := errors.Join(laketest.StartZstd(), useFaultyFiles()); err != nil {
		t.Fatal(err)
	}
	root := t.TempDir()
	l := &testLake{t: t, workload: w, dir: filepath.Join(root, "lake")}
	if w.onS3 {
		l.s3 = newS3Objects()
	}
	config := l.configuration(fedEvery, map[string]any{"keep_snapshots": 1})
	catalog := w.streams(w.mode, 4, 4)
	l.config, l.catalog = protocoltest.File(t, config), protocoltest.File(t, catalog)
	var err error
	if l.read, err = parseConfig(config); err != nil {
		t.Fatal(err)
	}
	if l.configured, err = protocol.ParseConfiguredCatalog(catalog); err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(l.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	l.fill()
	saved := filepath.Join(root, "saved")
	l.copy(saved, l.dir)
	l.saved = saved
	return l
}

func (l *testLake) configuration(rows int, maintenance map[string]any) []byte {
	l.t.Helper()
	config := map[string]any{
		"warehouse": "file://" + l.dir, "namespace": "whoop", "upsert": cmp.Or(l.upsert, string(lake.Auto)),
		"commit": map[string]any{"max_rows": rows}, "maintenance": maintenance,
	}
	if l.s3 != nil {
		config["warehouse"], config["storage"] = "s3://"+s3test.Bucket+"/lake", json.RawMessage(s3test.Config(l.s3.server.URL))
		config["catalog"] = map[string]any{"type": "sqlite", "path": l.dir + "/catalog.db"}
	}
	if l.sorted {
		config["streams"] = []any{map[string]any{"name": "items", "partition_by": []string{"bucket(2, id)"}, "sort_by": []string{"version desc"}}}
	}
	text, err := json.Marshal(config)
	if err != nil {
		l.t.Fatal(err)
	}
	return text
}

// streams is the configured catalog.
func (w workload) streams(mode protocol.DestinationSyncMode, generation, minimum int64) []byte {
	generations := ""
	if w.refresh {
		generations = fmt.Sprintf(`,"generation_id":%d,"minimum_generation_id":%d,"sync_id":%[1]d`, generation, minimum)
	}
	return fmt.Appendf(nil, `{"streams":[{"stream":{"name":"items","json_schema":{"properties":
		{"id":{"type":"integer"},"version":{"type":"integer"},"_ab_cdc_deleted_at":{"type":"string"}}}},
		"sync_mode":"incremental","destination_sync_mode":%q,"primary_key":[["id"]],"cursor_field":["version"]%s}]}`, mode, generations)
}

// fill makes the table that is there before the run: many small commits, an orphan, and what is left of an
// earlier attempt at a refresh.
func (l *testLake) fill() {
	l.t.Helper()
	quiet := protocoltest.File(l.t, l.configuration(1, map[string]any{"on_write": false}))
	var base bytes.Buffer
	for n := range l.base {
		if !l.old {
			base.Write(l.input(n, n+1, ""))
			continue
		}
		fmt.Fprintf(&base, `{"type":"RECORD","record":{"stream":"items","emitted_at":1767225600000,"data":{"id":%d,"version":%d}}}`+"\n", n, -1-n)
		fmt.Fprintf(&base, `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"items"},"stream_state":{"n":%d}}}}`+"\n", -1-n)
	}
	if l.base > 0 {
		base.WriteString(fedComplete)
		mode := l.mode
		if mode == protocol.Overwrite {
			mode = protocol.Append
		}
		l.run(nil, base.Bytes(), "write", "--config", quiet, "--catalog", protocoltest.File(l.t, l.streams(mode, 3, 0)))
		l.addOrphan()
	}
	if l.resumed > 0 {
		l.run(nil, l.input(0, l.resumed, ""), "write", "--config", quiet, "--catalog", l.catalog)
	}
}

func (l *testLake) copy(to, from string) {
	l.t.Helper()
	if err := errors.Join(os.RemoveAll(to), os.CopyFS(to, os.DirFS(from))); err != nil {
		l.t.Fatal(err)
	}
	if l.s3 != nil {
		if err := l.s3.copy(to, from, l.dir); err != nil {
			l.t.Fatal(err)
		}
	}
}

// addOrphan puts a file among the table's that nothing names.
func (l *testLake) addOrphan() {
	l.t.Helper()
	if l.s3 != nil {
		return
	}
	path := filepath.Join(l.dir, "whoop.db", "items", "data", "orphan.parquet")
	old := time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC) // a bubble of time begins in 2000
	if err := errors.Join(os.WriteFile(path, nil, 0o600), os.Chtimes(path, old, old)); err != nil {
		l.t.Fatal(err)
	}
}

// write runs the destination on an input, a month after the table was made.
func (l *testLake) write(f *faults, input []byte) *protocoltest.Run {
	l.t.Helper()
	return l.run(f, input, "write", "--config", l.config, "--catalog", l.catalog)
}

func TestMain(m *testing.M) {
	laketest.RelaxSQLite()
	m.Run()
}

// unsignalled is a destination that waits for no signal at the end of its input, since
// nobody sends one.
func unsignalled() destination {
	d := newDestination()
	d.signalDelay = 0
	return d
}

// run runs the destination in a bubble of time, in which what hangs takes none.
func (l *testLake) run(f *faults, input []byte, args ...string) *protocoltest.Run {
	l.t.Helper()
	d := newDestination()
	switch {
	case l.s3 != nil:
		l.s3.faults.Store(f)
		defer l.s3.faults.Store(nil)
	case f != nil:
		d = faultyDestination(f)
		defer faultsByWarehouse.Delete(l.dir)
	}
	r := &protocoltest.Run{Args: args, Input: input}
	synctest.Test(l.t, func(t *testing.T) {
		if l.saved != "" {
			time.Sleep(30 * 24 * time.Hour)
		}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		start := time.Now()
		defer time.AfterFunc(time.Hour, cancel).Stop() // as SIGTERM does
		var stdout, stderr bytes.Buffer
		r.Code = d.run(ctx, cli.Env{Args: r.Args, Stdin: bytes.NewReader(input), Stdout: &stdout, Stderr: &stderr})
		if took := time.Since(start); took > time.Hour+shutdownTimeout {
			t.Errorf("the run took %v", took)
		}
		if f != nil {
			f.release()
			time.Sleep(time.Hour) // what the run left behind tries again, where the process would have ended
		}
		synctest.Wait()
		r.Stdout, r.Stderr = stdout.Bytes(), stderr.Bytes()
	})
	r.Check(l.t)
	return r
}

// observed is what a reader finds.
type observed struct {
	main, branch []string // rows; branch is nil when there is no refresh under way
	position     int      // what the state command says
}

func (l *testLake) observe() observed {
	l.t.Helper()
	ctx := l.t.Context()
	found := observed{position: -1}
	states, err := committedStates(ctx, l.read, l.configured)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, s := range states {
		raw, err := s.Read(ctx)
		if err != nil {
			l.t.Fatal(err)
		}
		found.position = position(l.t, raw)
	}
	cat, err := l.read.openExisting(ctx)
	if errors.Is(err, catalogs.ErrNone) {
		return found
	}
	if err != nil {
		l.t.Fatal(err)
	}
	defer cat.Close()
	tbl, err := cat.LoadTable(ctx, table.Identifier{"whoop", "items"})
	if errors.Is(err, catalog.ErrNoSuchTable) {
		return found
	}
	if err != nil {
		l.t.Fatal(err)
	}
	found.main = l.rowsOf(tbl)
	for name, ref := range tbl.Metadata().Refs() {
		if name != table.MainBranch {
			found.branch = l.rowsOf(tbl, table.WithSnapshotID(ref.SnapshotID))
		}
	}
	l.checkFilesExist(tbl)
	return found
}

func (l *testLake) rowsOf(tbl *table.Table, options ...table.ScanOption) []string {
	l.t.Helper()
	rows := []string{}
	options = append(options, table.WithSelectedFields("id", "version", "_ab_cdc_deleted_at"))
	_, batches, err := tbl.Scan(options...).ToArrowRecords(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	for b, err := range batches {
		if err != nil {
			l.t.Fatal(err)
		}
		column := func(name string) arrow.Array { return b.Column(b.Schema().FieldIndices(name)[0]) }
		for i := range int(b.NumRows()) {
			if column("_ab_cdc_deleted_at").IsNull(i) { // the branch of a refresh keeps tombstones
				rows = append(rows, column("id").ValueStr(i)+"/"+column("version").ValueStr(i))
			}
		}
	}
	slices.Sort(rows)
	return rows
}

// checkFilesExist checks that every file that a snapshot names is there.
func (l *testLake) checkFilesExist(tbl *table.Table) {
	l.t.Helper()
	files, err := tbl.FS(l.t.Context())
	if err != nil {
		l.t.Fatal(err)
	}
	known := map[string]bool{}
	for _, s := range tbl.Metadata().Snapshots() {
		manifests, err := s.Manifests(files)
		if err != nil {
			l.t.Errorf("snapshot %d: %v", s.SnapshotID, err)
			continue
		}
		for _, m := range manifests {
			if known[m.FilePath()] {
				continue
			}
			known[m.FilePath()] = true
			for entry, err := range m.Entries(files, true) {
				if err != nil {
					l.t.Errorf("snapshot %d: %v", s.SnapshotID, err)
					break
				}
				file, err := files.Open(entry.DataFile().FilePath())
				if err == nil {
					err = file.Close()
				}
				if err != nil {
					l.t.Errorf("snapshot %d names a file that is not there: %v", s.SnapshotID, err)
				}
			}
		}
	}
}
