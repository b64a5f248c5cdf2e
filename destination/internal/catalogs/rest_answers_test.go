package catalogs

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs/resttest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// restServerWith starts a catalog that every request reaches through front.
func restServerWith(t *testing.T, server *resttest.Server, front http.HandlerFunc) (url, warehouse string) {
	t.Helper()
	warehouse = "file://" + t.TempDir()
	server.Files, server.Warehouse = at(t, warehouse).Files(), warehouse
	server.Front = func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			recorder := &answered{ResponseWriter: w}
			if front(recorder, r); !recorder.done {
				next.ServeHTTP(w, r)
			}
		})
	}
	return server.Start().URL, warehouse
}

// restWith is the configuration of a REST catalog, with keys besides its uri.
func restWith(uri string, keys map[string]any) Config {
	given := map[string]any{"type": "rest", "uri": uri}
	maps.Copy(given, keys)
	raw, err := json.Marshal(given)
	var c Config
	if err = errors.Join(err, json.Unmarshal(raw, &c)); err != nil {
		panic(err)
	}
	return c
}

// answered knows whether something was answered.
type answered struct {
	http.ResponseWriter
	done bool
}

func (a *answered) WriteHeader(status int) {
	a.done = true
	a.ResponseWriter.WriteHeader(status)
}

func refusal(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		(&resttest.Refusal{Message: "for a reason", Type: "SomeException", Code: status}).Write(w)
	}
}

func page(status int) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.WriteHeader(status)
		fmt.Fprint(w, "<html>hello</html>")
	}
}

// expectTold expects an error for the user that says something and holds no secret.
func expectTold(t *testing.T, err error, kind protocol.Kind, says string) {
	t.Helper()
	var userError *protocol.Error
	if !errors.As(err, &userError) || userError.Kind != kind || !strings.Contains(userError.Message, says) {
		t.Errorf("error %v", err)
	}
	if err != nil && strings.Contains(err.Error(), "sesame") {
		t.Errorf("a secret is in %v", err)
	}
}

func TestWhatARESTCatalogAnswersIsExplained(t *testing.T) {
	for name, tc := range map[string]struct {
		answer http.HandlerFunc
		kind   protocol.Kind
		says   string
	}{
		"a web page":         {page(http.StatusOK), protocol.ConfigError, "web page"},
		"a page that is not": {page(http.StatusNotFound), protocol.ConfigError, `Correct "catalog.uri"`},
		"no page at all":     {http.NotFound, protocol.ConfigError, `Correct "catalog.uri"`},
		"no warehouse":       {refusal(http.StatusNotFound), protocol.ConfigError, `"catalog.warehouse"`},
		"bad request":        {refusal(http.StatusBadRequest), protocol.ConfigError, "for a reason"},
		"unauthorized":       {refusal(http.StatusUnauthorized), protocol.ConfigError, `Correct "catalog.auth"`},
		"expired":            {refusal(419), protocol.ConfigError, `Correct "catalog.auth"`},
		"forbidden":          {refusal(http.StatusForbidden), protocol.ConfigError, "Grant the rights"},
		"strange":            {refusal(http.StatusTeapot), protocol.ConfigError, "not understood"},
		"broken":             {refusal(http.StatusInternalServerError), protocol.TransientError, "fails"},
		"a broken gateway":   {page(http.StatusBadGateway), protocol.TransientError, "fails"},
		"no JSON": {func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", "application/json")
			w.WriteHeader(http.StatusOK)
			fmt.Fprint(w, "hello")
		}, protocol.ConfigError, "not understood"},
		"busy for ever": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "0")
			refusal(http.StatusTooManyRequests)(w, r)
		}, protocol.TransientError, "fewer requests"},
		"busy for an hour": {func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "3600")
			refusal(http.StatusServiceUnavailable)(w, r)
		}, protocol.TransientError, "fails"},
	} {
		t.Run(name, func(t *testing.T) {
			uri, warehouse := restServerWith(t, &resttest.Server{}, tc.answer)
			_, err := Open(t.Context(), restWith(uri, map[string]any{"auth": map[string]any{"type": "bearer", "token": "sesame"}}), at(t, warehouse))
			expectTold(t, err, tc.kind, tc.says)
		})
	}
}

func TestARESTCatalogThatIsNotThereIsExplained(t *testing.T) {
	server := httptest.NewServer(nil)
	server.Close()
	_, err := Open(t.Context(), configure("rest", "uri", server.URL), at(t, "file://"+t.TempDir()))
	expectTold(t, err, protocol.TransientError, "cannot be reached")
}

// A catalog that is busy has done nothing, and gets the request again.
func TestABusyRESTCatalogIsWaitedFor(t *testing.T) {
	var requests atomic.Int64
	uri, warehouse := restServerWith(t, &resttest.Server{}, func(w http.ResponseWriter, r *http.Request) {
		if requests.Add(1)%2 == 1 {
			w.Header().Set("Retry-After", "0")
			refusal(http.StatusTooManyRequests)(w, r)
		}
	})
	cat := openWith(t, configure("rest", "uri", uri), warehouse)
	if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil {
		t.Error(err)
	}
	if _, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "t"}, schema); err != nil {
		t.Error(err)
	}
}

// What only asks is asked again when its connection breaks. A change may have been made, and is sent once.
func TestAReadWhoseConnectionBreaksIsSentAgain(t *testing.T) {
	requests := map[string]int{}
	var lock sync.Mutex
	uri, warehouse := restServerWith(t, &resttest.Server{}, func(_ http.ResponseWriter, r *http.Request) {
		lock.Lock()
		name := r.Method + " " + r.URL.Path
		requests[name]++
		first := requests[name] == 1
		lock.Unlock()
		if first && (r.Method == http.MethodGet || strings.HasSuffix(r.URL.Path, "/t")) {
			panic(http.ErrAbortHandler)
		}
	})
	cat, id := openWith(t, configure("rest", "uri", uri), warehouse), table.Identifier{"ns", "t"}
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.LoadTable(t.Context(), id); err != nil {
		t.Error(err)
	}
	if _, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"k": "v"})}); err == nil {
		t.Error("a commit that nobody answered succeeded")
	}
	lock.Lock() // the server may still be at the request that it broke off
	defer lock.Unlock()
	for name, want := range map[string]int{"GET /v1/config": 2, "GET /v1/namespaces/ns/tables/t": 2, "POST /v1/namespaces/ns/tables/t": 1} {
		if requests[name] != want {
			t.Errorf("%s was sent %d times, want %d", name, requests[name], want)
		}
	}
}

// Whether a commit has landed is known after a refusal alone.
func TestWhatACommitsAnswerSays(t *testing.T) {
	for name, tc := range map[string]struct {
		answer       http.HandlerFunc
		notCommitted bool
	}{
		"unauthorized": {refusal(http.StatusUnauthorized), true},
		"forbidden":    {refusal(http.StatusForbidden), true},
		"bad request":  {refusal(http.StatusBadRequest), true},
		"conflict":     {refusal(http.StatusConflict), true},
		"broken":       {refusal(http.StatusInternalServerError), false},
		"gateway":      {page(http.StatusBadGateway), false},
		"unavailable":  {refusal(http.StatusServiceUnavailable), false},
		"timeout":      {refusal(http.StatusGatewayTimeout), false},
		"cut":          {func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, false},
		"a web page":   {page(http.StatusOK), false},
	} {
		t.Run(name, func(t *testing.T) {
			uri, warehouse := restServerWith(t, &resttest.Server{}, func(w http.ResponseWriter, r *http.Request) {
				if r.Method == http.MethodPost && strings.HasSuffix(r.URL.Path, "/tables/t") {
					tc.answer(w, r)
				}
			})
			cat, id := openWith(t, configure("rest", "uri", uri), warehouse), table.Identifier{"ns", "t"}
			if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
				t.Fatal(err)
			}
			if _, err := cat.CreateTable(t.Context(), id, schema); err != nil {
				t.Fatal(err)
			}
			_, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"k": "v"})})
			known := errors.Is(err, table.ErrCommitFailed) || errors.Is(err, storage.ErrNotCommitted)
			if err == nil || known != tc.notCommitted {
				t.Errorf("error %v", err)
			}
		})
	}
}

// What the catalog says of the client's configuration counts.
func TestTheCatalogsConfigurationIsFollowed(t *testing.T) {
	seen := map[string]string{}
	uri, warehouse := restServerWith(t, &resttest.Server{
		Prefix: "a/b", Defaults: map[string]string{"header.X-Default": "1"}, Overrides: map[string]string{"header.X-Override": "2"},
	}, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/v1/config" {
			if got := r.URL.Query().Get("warehouse"); got != "house" {
				t.Errorf("the warehouse is %q", got)
			}
			return
		}
		for _, name := range []string{"X-Default", "X-Override", "X-Own", "X-Iceberg-Access-Delegation"} {
			seen[name] = r.Header.Get(name)
		}
	})
	cat := openWith(t, restWith(uri, map[string]any{"warehouse": "house", "headers": []any{map[string]any{"name": "X-Own", "value": "3"}}}), warehouse)
	if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{"X-Default": "1", "X-Override": "2", "X-Own": "3", "X-Iceberg-Access-Delegation": ""}
	for name, value := range want {
		if seen[name] != value {
			t.Errorf("%s is %q", name, seen[name])
		}
	}
}

// A catalog that does not offer what is needed says so.
func TestAnEndpointThatIsMissingIsNamed(t *testing.T) {
	uri, warehouse := restServerWith(t, &resttest.Server{Endpoints: []string{"GET /v1/{prefix}/namespaces"}}, func(http.ResponseWriter, *http.Request) {})
	cat := openWith(t, configure("rest", "uri", uri), warehouse)
	_, err := cat.LoadTable(t.Context(), table.Identifier{"ns", "t"})
	expectTold(t, err, protocol.ConfigError, "does not offer")
}
