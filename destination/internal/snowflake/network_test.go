package snowflake

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// A networkFault is how a network fails.
type networkFault string

const (
	lostRequest networkFault = "before" // the connection breaks, and the request did not arrive
	lostAnswer  networkFault = "after"  // the request is answered, and the connection breaks
	silence     networkFault = "silent" // nothing arrives, and nothing comes back
)

// A faultyNetwork is between the driver and an account. From one request on it fails,
// until it is restored.
type faultyNetwork struct {
	url      string
	how      networkFault
	from     int64 // the first request that it concerns; 0: none
	once     bool  // and the only one
	requests atomic.Int64
	restored atomic.Bool
}

func newFaultyNetwork(w *world, how networkFault, from int64, once bool) *faultyNetwork {
	w.t.Helper()
	target, err := url.Parse(w.account.URL)
	if err != nil {
		w.t.Fatal(err)
	}
	n := &faultyNetwork{how: how, from: from, once: once}
	ended := make(chan struct{})
	proxy := httputil.NewSingleHostReverseProxy(target)
	proxy.Transport = w.network.Transport()
	n.url = w.network.Serve(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if number := n.requests.Add(1); n.from == 0 || number < n.from || n.once && number > n.from || n.restored.Load() {
			proxy.ServeHTTP(w, r)
			return
		}
		switch n.how {
		case lostAnswer:
			proxy.ServeHTTP(httptest.NewRecorder(), r)
		case silence:
			<-ended
		}
		panic(http.ErrAbortHandler)
	}))
	w.t.Cleanup(func() { close(ended) })
	return n
}

// sync commits twice, as a sync does, and returns how long Snowflake was waited for.
func (w *world) sync(t *testing.T, n *faultyNetwork, sleep *lake.Table) time.Duration {
	t.Helper()
	f := w.refresher(map[string]any{"endpoint": n.url}, sleep)
	var waited time.Duration
	for range 2 {
		w.commit(sleep)
		began := time.Now()
		f.Committed(t.Context(), []*lake.Table{sleep})
		waited += time.Since(began)
	}
	began := time.Now()
	if err := f.Finish(t.Context()); err != nil {
		t.Error(err)
	}
	f.Close()
	return waited + time.Since(began)
}

// requestsOfASync counts the requests of a sync whose network does not fail.
func requestsOfASync(t *testing.T) (total int64) {
	t.Helper()
	inBubble(t, func(t *testing.T, w *world) {
		faultless := newFaultyNetwork(w, lostRequest, 0, false)
		w.sync(t, faultless, w.open("whoop", "sleep", ""))
		w.expectQuiet()
		total = faultless.requests.Load()
	})
	return total
}

// Wherever the network fails, a sync that does not require Snowflake ends well and
// soon, with a warning, and the next one shows what it committed.
func TestTheNetworkFails(t *testing.T) {
	t.Parallel()
	total := requestsOfASync(t)
	closing := int64(1) // the last request ends the session
	for _, how := range []networkFault{lostRequest, lostAnswer, silence} {
		for from := int64(1); from <= total; from++ {
			if (from-2)%int64(testsize.Of(4, 1)) != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s request %d of %d", how, from, total), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, w *world) {
					n := newFaultyNetwork(w, how, from, false)
					sleep := w.open("whoop", "sleep", "")
					limit := 30 * time.Second
					if how == silence && (from == 4 || from == 7) { // CREATE and ALTER ICEBERG TABLE
						limit = time.Minute
					}
					if waited := w.sync(t, n, sleep); waited > limit {
						t.Errorf("it waited %v", waited)
					}
					warned := strings.Contains(w.log.String(), "level=WARN")
					if lost := from <= total-closing; warned != lost {
						t.Errorf("it warned: %v: %s", warned, w.log.String())
					}
					if rows := laketest.Load(t, sleep).Metadata().Snapshots(); len(rows) != 2 {
						t.Errorf("the table has %d snapshots", len(rows))
					}
					n.restored.Store(true)
					f := w.refresher(map[string]any{"endpoint": n.url, "required": true}, sleep)
					if err := f.Finish(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.expectShown(sleep, "WHOOP", "SLEEP")
				})
			})
		}
	}
}

// A connection that breaks once costs nothing that is not said: Snowflake shows the last commit, or there is a warning.
func TestAConnectionToSnowflakeBreaksOnce(t *testing.T) {
	t.Parallel()
	total := requestsOfASync(t)
	for _, how := range []networkFault{lostRequest, lostAnswer} {
		for at := int64(1); at <= total; at += int64(testsize.Of(6, 1)) {
			t.Run(fmt.Sprintf("%s request %d", how, at), func(t *testing.T) {
				t.Parallel()
				inBubble(t, func(t *testing.T, w *world) {
					n := newFaultyNetwork(w, how, at, true)
					sleep := w.open("whoop", "sleep", "")
					w.sync(t, n, sleep)
					if n.requests.Load() < at {
						t.Fatalf("there were only %d requests", n.requests.Load())
					}
					if !strings.Contains(w.log.String(), "level=WARN") {
						w.expectShown(sleep, "WHOOP", "SLEEP")
					}
					f := w.refresher(map[string]any{"endpoint": n.url, "required": true}, sleep)
					if err := f.Finish(t.Context()); err != nil {
						t.Fatal(err)
					}
					w.expectShown(sleep, "WHOOP", "SLEEP")
				})
			})
		}
	}
}
