package servers

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"sync"
)

// Front passes requests on to the server at an endpoint, through what intercept makes of the way there.
func Front(endpoint string, intercept func(http.Handler) http.Handler) http.Handler {
	to, err := url.Parse(endpoint)
	if err != nil {
		panic(err) // it is an address that a server listens at
	}
	return intercept(&httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.Out.URL.Scheme, r.Out.URL.Host = to.Scheme, to.Host // and the Host header stays, which signatures cover
		},
		Transport:    direct.Transport,
		ErrorHandler: func(http.ResponseWriter, *http.Request, error) { panic(http.ErrAbortHandler) }, // as the server did
	})
}

// glueVersions does what Moto leaves out of UpdateTable, which takes an update whatever version of the
// table it is meant for: Glue refuses one that is not for the current version.
// Source: https://docs.aws.amazon.com/glue/latest/webapi/API_UpdateTable.html; the answer is as in
// https://github.com/apache/iceberg/issues/8636.
type glueVersions struct {
	moto    string
	updates sync.Mutex // one at a time
}

func (g *glueVersions) intercept(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("X-Amz-Target") != "AWSGlue.UpdateTable" {
			next.ServeHTTP(w, r)
			return
		}
		body, err := io.ReadAll(r.Body)
		if err != nil {
			panic(http.ErrAbortHandler)
		}
		r.Body = io.NopCloser(bytes.NewReader(body))
		g.updates.Lock()
		defer g.updates.Unlock()
		current, err := g.isCurrent(r, body)
		switch {
		case err != nil:
			http.Error(w, err.Error(), http.StatusInternalServerError)
		case current:
			next.ServeHTTP(w, r)
		default:
			w.Header().Set("Content-Type", "application/x-amz-json-1.1")
			w.WriteHeader(http.StatusBadRequest)
			fmt.Fprint(w, `{"__type":"ConcurrentModificationException","Message":"Update table failed due to concurrent modifications."}`)
		}
	})
}

// isCurrent reports whether an update is for the current version of its table, for any, or for a
// table that is not there.
func (g *glueVersions) isCurrent(update *http.Request, body []byte) (bool, error) {
	var of struct {
		CatalogID    string `json:"CatalogId"`
		DatabaseName string
		TableInput   struct{ Name string }
		VersionID    string `json:"VersionId"`
	}
	if err := json.Unmarshal(body, &of); err != nil || of.VersionID == "" {
		return true, err
	}
	asks := map[string]string{"DatabaseName": of.DatabaseName, "Name": of.TableInput.Name}
	if of.CatalogID != "" {
		asks["CatalogId"] = of.CatalogID
	}
	text, err := json.Marshal(asks)
	if err != nil {
		return false, err
	}
	r, err := http.NewRequestWithContext(update.Context(), http.MethodPost, g.moto, bytes.NewReader(text))
	if err != nil {
		return false, err
	}
	for _, name := range []string{"Authorization", "Content-Type"} { // by which Moto knows the service
		r.Header.Set(name, update.Header.Get(name))
	}
	r.Header.Set("X-Amz-Target", "AWSGlue.GetTable")
	answer, err := direct.Do(r)
	if err != nil {
		return false, err
	}
	defer answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		return true, nil // Moto says why
	}
	var found struct {
		Table struct {
			VersionID string `json:"VersionId"`
		}
	}
	err = json.NewDecoder(answer.Body).Decode(&found)
	return found.Table.VersionID == of.VersionID, err
}
