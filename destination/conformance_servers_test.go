//go:build acceptance

package main

import (
	"database/sql"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	_ "github.com/jackc/pgx/v5/stdlib"
)

// The acceptance tests start the servers, put a configuration for each of their
// kinds into LAKES, and run TestLakes. NEW in one is a name that no other lake has;
// a PostgreSQL catalog gets a database of that name.
func init() {
	var lakes map[string]json.RawMessage
	if given := os.Getenv("LAKES"); given != "" {
		if err := json.Unmarshal([]byte(given), &lakes); err != nil {
			panic(fmt.Errorf("reading LAKES: %w", err))
		}
	}
	for kind, config := range lakes {
		lakeKinds = append(lakeKinds, lakeKind{kind, func(t *testing.T) string {
			t.Helper()
			name := fmt.Sprintf("lake%d", time.Now().UnixNano())
			config := strings.ReplaceAll(string(config), "NEW", name)
			var postgres struct{ Catalog struct{ Type, URI string } }
			if err := json.Unmarshal([]byte(config), &postgres); err != nil {
				t.Fatal(err)
			}
			if postgres.Catalog.Type == "postgres" {
				createDatabase(t, postgres.Catalog.URI)
			}
			return config
		}})
	}
}

// createDatabase creates the database that a URI names.
func createDatabase(t *testing.T, uri string) {
	t.Helper()
	u, err := url.Parse(uri)
	if err != nil {
		t.Fatal(err)
	}
	name := strings.TrimPrefix(u.Path, "/")
	u.Path = "/postgres"
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	if _, err := db.ExecContext(t.Context(), "CREATE DATABASE "+name); err != nil {
		t.Fatal(err)
	}
}
