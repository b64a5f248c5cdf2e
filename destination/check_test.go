package main

import (
	"context"
	"errors"
	"fmt"
	"math"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// Whichever call of a check fails, and in whichever way, and whenever it is told to stop, the catalog holds nothing of it
// afterwards.
func TestACheckThatFailsRemovesItsProbe(t *testing.T) {
	if err := useFaultyFiles(); err != nil {
		t.Fatal(err)
	}
	check := func(t *testing.T, f *faults) (left []string, err error) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		f.interrupt = cancel
		dir := t.TempDir()
		config, err := parseConfig(fmt.Appendf(nil, `{"warehouse":"file://%s"}`, dir))
		if err != nil {
			t.Fatal(err)
		}
		cat, err := config.openCatalog(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		defer cat.Close()
		sound := cat.Backend
		cat.Backend = faultyCatalog{sound, f}
		faultsByWarehouse.Store(dir, f)
		err = goroutine.Recovered(func() error { return probeWarehouse(ctx, config, cat) })()
		faultsByWarehouse.Delete(dir)
		cat.Backend = sound
		namespaces, listErr := sound.ListNamespaces(t.Context(), nil)
		if listErr != nil {
			t.Fatal(listErr)
		}
		if ids, err := catalogs.TableIDs(t.Context(), cat); err != nil || len(ids) > 0 || len(namespaces) > 0 {
			left = append(left, fmt.Sprint("in the catalog: ", namespaces, ids, err))
		}
		files, _ := filepath.Glob(filepath.Join(dir, "*.db", "*"))
		return append(left, files...), err
	}
	whole := &faults{at: math.MaxInt}
	if left, err := check(t, whole); err != nil || len(left) > 0 {
		t.Fatalf("%v; left: %q", err, left)
	}
	var failed, stopped atomic.Int64
	cleaning := slices.Index(whole.calls, "DropTable") - 1 // finds what is to be removed
	t.Run("faults", func(t *testing.T) {
		for n, call := range whole.calls {
			for k, kind := range []fault{interrupts, failsBefore, failsAfter, panics} {
				reads := call == "Open" || call == "Read" // also in the library's goroutines, and there are many
				if n >= cleaning && kind != interrupts || reads && (kind == panics || kind == interrupts) {
					continue
				}
				if (n+k)%testsize.Of(7, 1) > 0 {
					continue
				}
				t.Run(fmt.Sprintf("%s %d %s", call, n, kind), func(t *testing.T) {
					t.Parallel()
					left, err := check(t, &faults{kind: kind, at: n})
					if len(left) > 0 { // it may have succeeded, at a second attempt
						t.Errorf("%v; left: %q", err, left)
					}
					if errors.Is(err, context.Canceled) {
						stopped.Add(1)
					} else if err != nil {
						failed.Add(1)
					}
				})
			}
		}
	})
	if failed.Load() == 0 || stopped.Load() == 0 {
		t.Errorf("%d checks failed, %d were stopped", failed.Load(), stopped.Load())
	}
}
