//go:build acceptance

package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// The acceptance tests start the server and run TestLakes.
func init() {
	lakeKinds["postgres, local"] = func(t *testing.T) string {
		t.Helper()
		u, err := url.Parse(os.Getenv("CATALOGS_POSTGRES"))
		if err != nil || u.Host == "" {
			t.Fatal("CATALOGS_POSTGRES does not hold the URI of a PostgreSQL server")
		}
		db, err := sql.Open("pgx", u.String())
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		u.Path = fmt.Sprintf("/lake%d", time.Now().UnixNano())
		if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+u.Path[1:]); err != nil {
			t.Fatal(err)
		}
		config, err := json.Marshal(map[string]any{
			"warehouse": "file://" + t.TempDir(), "catalog": map[string]string{"type": "postgres", "uri": u.String()},
		})
		if err != nil {
			t.Fatal(err)
		}
		return string(config)
	}
}
