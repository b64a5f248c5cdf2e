//go:build acceptance

package acceptance

import (
	"context"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// An outage is how a network fails during a run: requests from one position on, so many in a row, lose their connection.
type outage struct {
	at, count int
	after     bool // each has its effect, and its answer is lost
}

func (o outage) String() string {
	when := "before its effect"
	if o.after {
		when = "after its effect"
	}
	return fmt.Sprintf("request %d and %d more, %s", o.at, o.count-1, when)
}

// A network is between a run and the servers that it uses.
type network struct {
	outage outage

	lock     sync.Mutex
	requests []string // what each was for, in the order in which they came
}

// to returns the endpoint by which a run reaches a server through the network.
func (n *network) to(t *testing.T, endpoint string) string {
	t.Helper()
	host, path, _ := strings.Cut(strings.TrimPrefix(endpoint, "http://"), "/")
	front := httptest.NewServer(servers.Front("http://"+host, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			n.lock.Lock()
			number := len(n.requests)
			n.requests = append(n.requests, purpose(r))
			n.lock.Unlock()
			if number < n.outage.at || number >= n.outage.at+n.outage.count {
				next.ServeHTTP(w, r)
				return
			}
			if n.outage.after {
				next.ServeHTTP(httptest.NewRecorder(), r)
			}
			panic(http.ErrAbortHandler)
		})
	}))
	t.Cleanup(front.Close)
	if path != "" {
		path = "/" + path
	}
	return front.URL + path
}

// purpose is what a request to S3, Glue or a REST catalog is for, such as "PUT .parquet".
func purpose(r *http.Request) string {
	if action := r.Header.Get("X-Amz-Target"); action != "" {
		return strings.TrimPrefix(action, "AWSGlue.")
	}
	_, inCatalog, ok := strings.Cut(r.URL.Path, "/v1/")
	switch parts := strings.Split(inCatalog, "/"); {
	case !ok:
	case slices.Contains(parts, "tables") && parts[len(parts)-1] != "tables":
		return r.Method + " table"
	default:
		return r.Method + " " + parts[len(parts)-1]
	}
	for _, list := range []string{"list-type", "delete", "uploads", "uploadId"} {
		if r.URL.Query().Has(list) {
			return r.Method + " " + list
		}
	}
	return r.Method + " " + path.Ext(r.URL.Path)
}

// commits are the requests that change tables.
var commits = []string{"UpdateTable", "CreateTable", "POST table", "POST tables"}

// outages are ways in which the network can fail for a run of these requests: every commit may lose its answer, and so
// many other requests are cut, or every one in both ways if that is 0. Each second outage lasts for some attempts.
func outages(requests []string, others int) (all []outage) {
	step := 1
	if others > 0 {
		step = max(1, 2*len(requests)/others)
	}
	for n := range 2 * len(requests) {
		i, after := n/2, n%2 == 1
		if after && slices.Contains(commits, requests[i]) || n%step == step/2 {
			all = append(all, outage{at: i, count: 1 + 2*(i%2), after: after})
		}
	}
	return all
}

// ACCEPTANCE_CUTS is how many requests of each sync lose their connection, besides the commits: 2 unless set, 0 for
// every one.
func cuts(t *testing.T) int {
	t.Helper()
	text := os.Getenv("ACCEPTANCE_CUTS")
	if text == "" {
		return 2
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 0 {
		t.Fatalf("ACCEPTANCE_CUTS is %q", text)
	}
	return n
}

// A networked is a lake that is reached through a network, and a feed of one stream into it, of which a part is there.
type networked struct {
	*lake
	network *network
	direct  *lake // the same, past the network
	stream  feedStream
	older   feed
	base    int // records of the feed that are there
	feed    feed
	catalog string // path
}

// shared is a catalog and an object store.
type shared struct {
	warehouse string
	catalog   map[string]any // type and options, without the endpoint
	at        string         // the option that holds the endpoint
	endpoint  string
	store     *servers.Server
}

// options are the configuration of a lake in a namespace, with endpoints that through makes of the servers'.
func (s shared) options(namespace string, through func(string) string) map[string]any {
	storage, catalog := s.store.Storage(), maps.Clone(s.catalog)
	storage["endpoint"], catalog[s.at] = through(s.store.Endpoint), through(s.endpoint)
	return map[string]any{
		"warehouse": s.warehouse, "namespace": namespace, "catalog": catalog, "storage": storage, "commit": map[string]any{"max_rows": 500},
	}
}

func newNetworked(t *testing.T, on shared, s feedStream, namespace string, o outage) *networked {
	t.Helper()
	n := &networked{network: &network{outage: o}, stream: s}
	n.direct = newLake(t, t.TempDir(), on.options(namespace, func(endpoint string) string { return endpoint }))
	n.lake = newLake(t, t.TempDir(), on.options(namespace, func(endpoint string) string { return n.network.to(t, endpoint) }))
	n.feed = feed{lengths: map[string]int{s.name: 3 * s.every}, version: 2}
	n.older = feed{lengths: map[string]int{s.name: 100}, version: 1}
	from := n.older
	if !s.refreshed && !s.replaces() {
		n.base = s.every
		from = feed{lengths: map[string]int{s.name: s.every}, version: 2}
	}
	if a := from.try(n.direct, from.configure(n.direct), nil, stop{}); a.run.Code != 0 {
		t.Fatalf("exit code %d: %s", a.run.Code, a.run.Stdout)
	}
	n.catalog = n.feed.configure(n.direct)
	return n
}

// rows are what a reader sees: id to version. No id may be there twice, unless that is allowed.
func (n *networked) rows(twice bool) map[int]int {
	n.t.Helper()
	rows := map[int]int{}
	for _, r := range n.direct.preview(n.stream.name) {
		values := r.(map[string]any)
		id := number(n.t, values["id"])
		if _, there := rows[id]; there && !twice {
			n.t.Errorf("id %d is there twice", id)
		}
		rows[id] = number(n.t, values["version"])
	}
	return rows
}

// rowsOf are those of a feed after so many of its records.
func (n *networked) rowsOf(f feed, records int) map[int]int {
	switch {
	case n.stream.mode == protocol.AppendDedup:
		return accountsAt(records)
	case n.stream.mode == protocol.Overwrite:
		rows := map[int]int{}
		for id := range records {
			rows[id] = f.version
		}
		return rows
	}
	return seriesAt(records)
}

// sync writes the feed through the network. It checks what is there then, and after a second sync, past the network,
// that continues from the table's state, or from the echoed ones.
func (n *networked) sync(fromEchoes bool) {
	n.t.Helper()
	s, length := n.stream.name, n.feed.lengths[n.stream.name]
	from := map[string]int{}
	if n.base > 0 {
		from[s] = n.base
	}
	a := n.feed.try(n.lake, n.catalog, from, stop{})
	if a.run.Code != 0 {
		var failed []string
		for _, e := range a.run.Errors() {
			failed = append(failed, string(e.FailureType)+": "+e.Message)
			if e.FailureType != protocol.TransientError {
				n.t.Errorf("the network fails, and the error is a %s", e.FailureType)
			}
		}
		n.t.Logf("exit code %d: %q", a.run.Code, failed)
		if len(failed) == 0 {
			n.t.Errorf("exit code %d without an error", a.run.Code)
		}
	}
	echoed, positions := a.echoed[s], n.direct.positions(n.catalog)
	if a.run.Code == 0 && echoed != length {
		n.t.Errorf("the run succeeded and echoed %d", echoed)
	}
	got := n.rows(false)
	if n.base > 0 {
		n.want("after the cut", n.rowsOf(n.feed, max(positions[s], n.base)), got)
	} else if diff := cmp.Diff(n.rowsOf(n.feed, length), got); diff != "" {
		n.want("after the cut", n.rowsOf(n.older, 100), got)
		if n.stream.replaces() && echoed > 0 {
			n.t.Errorf("state %d was echoed, and the table is as before", echoed)
		}
	}
	if !n.stream.replaces() && positions[s] < echoed {
		n.t.Errorf("state %d was echoed, the table is at %d", echoed, positions[s])
	}
	from = map[string]int{}
	switch {
	case n.stream.replaces():
	case fromEchoes:
		from[s] = max(echoed, n.base)
	case positions[s] > 0:
		from[s] = positions[s]
	}
	if a := n.feed.try(n.direct, n.catalog, from, stop{}); a.run.Code != 0 {
		n.t.Errorf("the next sync: exit code %d: %s", a.run.Code, last(a.run.Stdout, 2000))
	}
	n.want("after the next sync", n.rowsOf(n.feed, length), n.rows(fromEchoes && n.stream.mode == protocol.Append))
}

func (n *networked) want(when string, want, got map[int]int) {
	n.t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		n.t.Errorf("rows %s (-want +got):\n%.2000s", when, diff)
	}
}

// Whichever request of a sync to the object store or the catalog loses its connection, before or after its effect: no
// row is lost or doubled, no state is echoed that a reader cannot see, and the next sync succeeds.
func TestARequestIsCut(t *testing.T) {
	t.Parallel()
	store, glue := serve(t, programs().VersityGW), serve(t, programs().Moto)
	nessie := serve(t, func(ctx context.Context) (*servers.Server, error) { return programs().Nessie(ctx, store) })
	others := cuts(t)
	for kind, on := range map[string]shared{
		"nessie": {servers.NessieWarehouse, map[string]any{"type": "rest"}, "uri", nessie.Endpoint, store},
		"glue":   {"s3://" + servers.Bucket + "/glue", map[string]any{"type": "glue"}, "endpoint", glue.Endpoint, store},
	} {
		for _, s := range feedStreams {
			name := kind + "/" + s.name
			t.Run(name, func(t *testing.T) {
				sound := newNetworked(t, on, s, s.name+"_sound", outage{})
				sound.sync(false)
				if t.Failed() {
					return
				}
				counts := map[string]int{}
				for _, purpose := range sound.network.requests {
					counts[purpose]++
				}
				all := outages(sound.network.requests, others)
				t.Logf("%d requests, %d outages: %v", len(sound.network.requests), len(all), counts)
				for i, o := range all {
					t.Run(fmt.Sprintf("%s %v", sound.network.requests[o.at], o), func(t *testing.T) {
						t.Parallel()
						newNetworked(t, on, s, fmt.Sprintf("%s_%d", s.name, i), o).sync(i%2 == 1)
					})
				}
			})
		}
	}
}
