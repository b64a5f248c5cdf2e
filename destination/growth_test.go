package main

import (
	"bytes"
	"flag"
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/iceberg-go/table"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

var (
	syncs = flag.Int("syncs", testsize.Of(12, 100), "how many syncs TestASyncIsAsFastAfterYears makes of each table")
	timed = flag.Int("timed", 0, "how many of these are processes whose time is taken")
)

// A history is a table that is synced again and again, with ten records at a time: eight new ones, one
// of the last hundred, and any one.
type history struct {
	t       *testing.T
	args    []string // of write
	random  *rand.Rand
	syncs   int
	newest  map[string]int64 // the last sync of each id
	dir     string
	appends bool
}

func newHistory(t *testing.T, mode protocol.DestinationSyncMode, upsert lake.Upsert) *history {
	t.Helper()
	h := &history{t: t, random: rand.New(rand.NewPCG(3, 3)), newest: map[string]int64{}, dir: t.TempDir(), appends: mode == protocol.Append}
	config := fmt.Sprintf(`{"warehouse":"file://%s","upsert":%q}`, h.dir, upsert)
	catalog := fmt.Sprintf(`{"streams":[{"stream":{"name":"s","json_schema":{"properties":
		{"id":{"type":"integer"},"sync":{"type":"integer"},"text":{"type":"string"}}}},
		"sync_mode":"incremental","destination_sync_mode":%q,"cursor_field":["sync"],"primary_key":[["id"]]}]}`, mode)
	h.args = []string{"write", "--config", protocoltest.File(t, config), "--catalog", protocoltest.File(t, catalog)}
	return h
}

// next is the input of the next sync.
func (h *history) next() []byte {
	n := h.syncs
	h.syncs++
	ids := []int{max(0, n*8-1-h.random.IntN(100)), h.random.IntN(n*8 + 1)}
	for i := range 8 {
		ids = append(ids, n*8+i)
	}
	var b bytes.Buffer
	for _, id := range ids {
		fmt.Fprintf(&b, `{"type":"RECORD","record":{"stream":"s","emitted_at":1767225600000,"data":{"id":%d,"sync":%d,"text":"%[1]d in sync %[2]d"}}}`+"\n", id, n)
		h.newest[fmt.Sprint(id)] = int64(n)
	}
	fmt.Fprintf(&b, `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"n":%d}}}}`+"\n", n)
	b.WriteString(`{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1767225600000,"stream_status":{"stream_descriptor":{"name":"s"},"status":"COMPLETE"}}}` + "\n")
	return b.Bytes()
}

// simulate makes a sync at a point of time.
func (h *history) simulate(at time.Time) {
	h.t.Helper()
	synctest.Test(h.t, func(t *testing.T) {
		time.Sleep(time.Until(at))
		var stdout bytes.Buffer
		code := run(t.Context(), cli.Env{Args: h.args, Stdin: bytes.NewReader(h.next()), Stdout: &stdout, Stderr: &stdout})
		if code != 0 {
			t.Fatalf("sync %d: exit code %d\n%s", h.syncs, code, stdout.Bytes())
		}
	})
}

// time makes a sync by a process, and returns how long that took.
func (h *history) time(program string) time.Duration {
	h.t.Helper()
	cmd := exec.CommandContext(h.t.Context(), program, h.args...)
	cmd.Stdin = bytes.NewReader(h.next())
	start := time.Now()
	out, err := cmd.CombinedOutput()
	took := time.Since(start)
	if err != nil {
		h.t.Fatalf("sync %d: %v\n%s", h.syncs, err, out)
	}
	return took
}

// Of a table that is synced every five minutes for years the rows are right and the parts few. How long
// the last syncs take is logged, each beside the tenth of a new table, so that both meet the machine in
// one mood.
func TestASyncIsAsFastAfterYears(t *testing.T) {
	if err := laketest.StartZstd(); err != nil {
		t.Fatal(err)
	}
	var program string
	if *timed > 0 {
		program = filepath.Join(t.TempDir(), "destination")
		if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", program, ".").CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
	}
	for name, tc := range map[string]struct {
		mode   protocol.DestinationSyncMode
		upsert lake.Upsert
	}{
		"append":        {protocol.Append, lake.Auto},
		"auto":          {protocol.AppendDedup, lake.Auto},
		"merge_on_read": {protocol.AppendDedup, lake.MergeOnRead},
	} {
		t.Run(name, func(t *testing.T) {
			if *timed == 0 {
				t.Parallel()
			}
			old := newHistory(t, tc.mode, tc.upsert)
			end := time.Now()
			for n := *syncs - *timed; n > 0; n-- {
				old.simulate(end.Add(-time.Duration(n) * 5 * time.Minute))
			}
			var tenths, lasts []time.Duration
			for range *timed {
				young := newHistory(t, tc.mode, tc.upsert)
				for n := 9; n > 0; n-- {
					young.simulate(time.Now().Add(-time.Duration(n) * 5 * time.Minute))
				}
				tenths, lasts = append(tenths, young.time(program)), append(lasts, old.time(program))
			}
			if *timed > 0 {
				slices.Sort(tenths)
				slices.Sort(lasts)
				tenth, last := tenths[*timed/2], lasts[*timed/2]
				t.Logf("median of %d: the tenth sync %v, sync %d %v, %.2f times as long", *timed,
					tenth.Round(time.Millisecond), *syncs, last.Round(time.Millisecond), float64(last)/float64(tenth))
			}
			old.check()
		})
	}
}

func (h *history) check() {
	h.t.Helper()
	config, err := parseConfig(fmt.Appendf(nil, `{"warehouse":"file://%s"}`, h.dir))
	if err != nil {
		h.t.Fatal(err)
	}
	cat, err := config.openExisting(h.t.Context())
	if err != nil {
		h.t.Fatal(err)
	}
	defer cat.Close()
	tbl, err := cat.LoadTable(h.t.Context(), table.Identifier{"airbyte", "s"})
	if err != nil {
		h.t.Fatal(err)
	}
	info, err := inspect.Describe(h.t.Context(), tbl)
	if err != nil {
		h.t.Fatal(err)
	}
	h.t.Logf("%d data files, %d delete files, %d snapshots", info.DataFiles, info.PositionDeletes, info.Snapshots)
	if info.DataFiles > 100 || info.PositionDeletes > 100 || info.Snapshots > 150+*timed {
		h.t.Error("the table was not kept in shape")
	}
	rows := len(h.newest)
	if h.appends {
		rows = 10 * h.syncs
	}
	newest := map[string]int64{}
	got := 0
	for row, err := range inspect.Rows(h.t.Context(), tbl, 0) {
		if err != nil {
			h.t.Fatal(err)
		}
		sync, err := strconv.ParseInt(fmt.Sprint(row[1].Value), 10, 64)
		if err != nil {
			h.t.Fatal(err)
		}
		id := fmt.Sprint(row[0].Value)
		newest[id] = max(newest[id], sync)
		got++
	}
	if got != rows {
		h.t.Errorf("%d rows, not %d", got, rows)
	}
	if diff := cmp.Diff(h.newest, newest); diff != "" {
		h.t.Errorf("the newest sync of each id (-want +got):\n%.2000s", diff)
	}
}
