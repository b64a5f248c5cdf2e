//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A history is a table that is synced again and again, with ten records at a time: eight new ones, one
// of the last hundred, and any one.
type history struct {
	lake    *lake
	catalog string
	random  *rand.Rand
	syncs   int
	newest  map[int]int // the last sync of each id
}

func newHistory(t testing.TB, dir string, mode protocol.DestinationSyncMode, upsert string) *history {
	t.Helper()
	h := &history{lake: newLake(t, dir, map[string]any{"upsert": upsert}), random: rand.New(rand.NewPCG(3, 3)), newest: map[int]int{}}
	h.catalog = filepath.Join(dir, "catalog.json")
	writeJSON(t, h.catalog, map[string]any{"streams": []any{map[string]any{
		"stream": map[string]any{
			"name":                  "s",
			"json_schema":           json.RawMessage(`{"properties":{"id":{"type":"integer"},"sync":{"type":"integer"},"text":{"type":"string"}}}`),
			"supported_sync_modes":  []string{"incremental"},
			"source_defined_cursor": true,
		},
		"sync_mode": "incremental", "destination_sync_mode": mode, "cursor_field": []string{"sync"}, "primary_key": [][]string{{"id"}},
	}}})
	return h
}

// sync runs the destination once and returns how long that took.
func (h *history) sync() time.Duration {
	h.lake.t.Helper()
	n := h.syncs
	h.syncs++
	ids := []int{max(0, n*8-1-h.random.IntN(100)), h.random.IntN(n*8 + 1)}
	for i := range 8 {
		ids = append(ids, n*8+i)
	}
	var records []string
	for _, id := range ids {
		records = append(records, fmt.Sprintf(`{"id":%d,"sync":%d,"text":"%d in sync %d"}`, id, n, id, n))
		h.newest[id] = n
	}
	cmd := exec.CommandContext(h.lake.t.Context(), destination, "write", "--config", h.lake.config, "--catalog", h.catalog)
	cmd.Stdin = bytes.NewReader(messages("s", records...))
	start := time.Now()
	_, err := finish(cmd)
	took := time.Since(start)
	if err != nil {
		h.lake.t.Fatal(err)
	}
	return took
}

// Processes that write a little into one table, as every five minutes for years: the rows are right, and
// how long the last takes beside the tenth is logged. Each of the last is timed beside the tenth of a
// table of its own, so that both meet the machine in one mood. ACCEPTANCE_SYNCS is how many there are, 40
// unless set.
func TestASyncIsAsFastAfterYears(t *testing.T) {
	syncs := 40
	if text := os.Getenv("ACCEPTANCE_SYNCS"); text != "" {
		var err error
		if syncs, err = strconv.Atoi(text); err != nil {
			t.Fatalf("ACCEPTANCE_SYNCS: %v", err)
		}
	}
	for name, tc := range map[string]struct {
		mode   protocol.DestinationSyncMode
		upsert string
	}{
		"append":        {protocol.Append, "auto"},
		"auto":          {protocol.AppendDedup, "auto"},
		"merge_on_read": {protocol.AppendDedup, "merge_on_read"},
	} {
		t.Run(name, func(t *testing.T) {
			old := newHistory(t, t.TempDir(), tc.mode, tc.upsert)
			pairs := min(50, syncs/10)
			for range syncs - pairs {
				old.sync()
			}
			var tenths, lasts []time.Duration
			for range pairs {
				young := newHistory(t, t.TempDir(), tc.mode, tc.upsert)
				for range 9 {
					young.sync()
				}
				tenths, lasts = append(tenths, young.sync()), append(lasts, old.sync())
			}
			slices.Sort(tenths)
			slices.Sort(lasts)
			tenth, last := tenths[pairs/2], lasts[pairs/2]
			t.Logf("median of %d: the tenth sync %s, sync %d %s, ratio %.2f", pairs, tenth.Round(time.Millisecond), syncs, last.Round(time.Millisecond), float64(last)/float64(tenth))

			want := [][]int{{len(old.newest), len(old.newest), 0}}
			if tc.mode == protocol.Append {
				want[0][0] = 10 * syncs
			}
			for _, n := range old.newest {
				want[0][2] += n
			}
			query := "SELECT (SELECT count(*) FROM t), count(*), sum(newest) FROM (SELECT max(sync) AS newest FROM t GROUP BY id)"
			if diff := cmp.Diff(want, old.lake.ask(map[string]string{"s": query})["s"]); diff != "" {
				t.Errorf("rows, ids and the sum of their newest syncs (-want +got):\n%s", diff)
			}
			if rows := old.lake.run("tables", "--config", old.lake.config, "--json"); t.Failed() {
				t.Logf("%s", rows)
			}
		})
	}
}
