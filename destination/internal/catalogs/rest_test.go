package catalogs

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"testing"
)

func TestNessieKeepsNoBranches(t *testing.T) {
	for name, tc := range map[string]struct {
		overrides string
		keeps     bool
	}{
		"nessie":  {`{"nessie.is-nessie-catalog":"true"}`, false},
		"another": {`{}`, true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/iceberg/v1/config" {
					http.NotFound(w, r)
					return
				}
				fmt.Fprintf(w, `{"defaults":{},"overrides":%s}`, tc.overrides)
			}))
			defer server.Close()
			cat := openWith(t, configure("rest", "uri", server.URL+"/iceberg"), "file://"+t.TempDir())
			if cat.KeepsBranches() != tc.keeps {
				t.Errorf("it keeps branches: %t", cat.KeepsBranches())
			}
			if err := cat.Close(); err != nil {
				t.Error(err)
			}
		})
	}
}
