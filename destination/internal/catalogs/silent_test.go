package catalogs

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// patience is how long a check or a sync may take to say that the catalog is not there.
const patience = 30 * time.Second

// silentServers has the hosts of some ports accept connections and never answer; nobody can connect to others.
func silentServers(t *testing.T, ports ...string) {
	t.Helper()
	real := dial
	t.Cleanup(func() { dial = real })
	dial = func(_ context.Context, _, address string) (net.Conn, error) {
		for _, port := range ports {
			if strings.HasSuffix(address, ":"+port) {
				ours, theirs := net.Pipe()
				go func() { _, _ = io.Copy(io.Discard, theirs) }() // until ours is closed
				return ours, nil
			}
		}
		return nil, errors.New("nobody is there")
	}
}

// A catalog that accepts connections and never answers is given up soon, as long as nothing has begun.
func TestASilentRESTCatalogIsGivenUp(t *testing.T) {
	silentServers(t, "1234", "5678")
	for name, tc := range map[string]struct {
		keys map[string]any
		says string
	}{
		"catalog":        {nil, `The catalog at http://lake.test:1234/iceberg has not answered for 25s. Check "catalog.uri"`},
		"token endpoint": {map[string]any{"auth": map[string]any{"type": "oauth2", "client_id": "me", "client_secret": "sesame", "token_uri": "http://login.test:5678/token"}}, `http://login.test:5678/token has not answered in time. Check "catalog.auth.token_uri"`},
	} {
		t.Run(name, func(t *testing.T) {
			files := at(t, "file://"+t.TempDir())
			synctest.Test(t, func(t *testing.T) {
				began := time.Now()
				_, err := Open(t.Context(), restWith("http://lake.test:1234/iceberg", tc.keys), files)
				if took := time.Since(began); took > patience {
					t.Errorf("it took %v", took)
				}
				expectTold(t, err, protocol.TransientError, tc.says)
			})
		})
	}
}

// silentClient sends requests to a server that never answers.
type silentClient struct{}

func (silentClient) Do(r *http.Request) (*http.Response, error) {
	<-r.Context().Done()
	return nil, r.Context().Err()
}

func TestASilentGlueIsGivenUp(t *testing.T) {
	var config storage.Config
	if err := json.Unmarshal([]byte(`{"type":"s3","region":"eu-west-1","access_key_id":"key","secret_access_key":"sesame"}`), &config); err != nil {
		t.Fatal(err)
	}
	files, err := storage.Open(t.Context(), config, "s3://bucket/lake", "")
	if err != nil {
		t.Fatal(err)
	}
	files.AWS().HTTPClient = silentClient{}
	cat, err := OpenExisting(t.Context(), configure("glue", "endpoint", "http://glue.test:1234"), files)
	if err != nil {
		t.Fatal(err)
	}
	defer cat.Close()
	synctest.Test(t, func(t *testing.T) {
		began := time.Now()
		_, err := cat.ListNamespaces(t.Context(), nil)
		if took := time.Since(began); took > patience {
			t.Errorf("it took %v", took)
		}
		expectTold(t, err, protocol.TransientError, `Glue has not answered for 25s. Check the network, "catalog.region" and "catalog.endpoint"`)
	})
}
