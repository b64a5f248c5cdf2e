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

// A network is between the driver and an account. From one request on it fails, until
// it is restored.
type network struct {
	url      string
	how      networkFault
	from     int64 // the first request that it concerns; 0: none
	once     bool  // and the only one
	requests atomic.Int64
	restored atomic.Bool
}

func newNetwork(t *testing.T, account string, how networkFault, from int64, once bool) *network {
	t.Helper()
	target, err := url.Parse(account)
	if err != nil {
		t.Fatal(err)
	}
	n := &network{how: how, from: from, once: once}
	ended := make(chan struct{})
	proxy := httputil.NewSingleHostReverseProxy(target)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
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
	t.Cleanup(server.Close)
	t.Cleanup(func() { close(ended) })
	n.url = server.URL
	return n
}

// sync commits twice, as a sync does, and returns how long Snowflake was waited for.
func (w *world) sync(t *testing.T, n *network, sleep *lake.Table) time.Duration {
	t.Helper()
	f, err := w.config(map[string]any{"endpoint": n.url}).NewRefresher(w.lake(), []*lake.Table{sleep}, w.logger())
	if err != nil {
		t.Fatal(err)
	}
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

// Wherever the network fails, a sync that does not require Snowflake ends well and
// soon, with a warning, and the next one shows what it committed.
func TestTheNetworkFails(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	faultless := newNetwork(t, w.account.URL, lostRequest, 0, false)
	w.sync(t, faultless, w.open("whoop", "sleep", ""))
	w.expectQuiet()
	total := faultless.requests.Load()
	closing := int64(1) // the last request ends the session
	for _, how := range []networkFault{lostRequest, lostAnswer, silence} {
		for from := int64(1); from <= total; from++ {
			every := testsize.Of(4, 1)
			if how == silence {
				every = testsize.Of(1_000, 3) // it takes half a minute
			}
			if (from-2)%int64(every) != 0 {
				continue
			}
			t.Run(fmt.Sprintf("%s request %d of %d", how, from, total), func(t *testing.T) {
				t.Parallel()
				w := newReadyWorld(t, "OBJECT_STORE")
				n := newNetwork(t, w.account.URL, how, from, false)
				sleep := w.open("whoop", "sleep", "")
				if waited := w.sync(t, n, sleep); waited > 30*time.Second {
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
		}
	}
}

// A connection that breaks once costs nothing that is not said: Snowflake shows the last commit, or there is a warning.
func TestAConnectionToSnowflakeBreaksOnce(t *testing.T) {
	t.Parallel()
	w := newReadyWorld(t, "OBJECT_STORE")
	faultless := newNetwork(t, w.account.URL, lostRequest, 0, false)
	w.sync(t, faultless, w.open("whoop", "sleep", ""))
	for _, how := range []networkFault{lostRequest, lostAnswer} {
		for at := int64(1); at <= faultless.requests.Load(); at += int64(testsize.Of(6, 1)) {
			t.Run(fmt.Sprintf("%s request %d", how, at), func(t *testing.T) {
				t.Parallel()
				w := newReadyWorld(t, "OBJECT_STORE")
				n := newNetwork(t, w.account.URL, how, at, true)
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
		}
	}
}
