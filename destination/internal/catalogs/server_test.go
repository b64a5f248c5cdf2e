//go:build acceptance

package catalogs

import (
	"database/sql"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// server is a PostgreSQL server that asks for passwords, and its superuser. The
// acceptance tests start it and run these.
func server(t *testing.T) *url.URL {
	t.Helper()
	u, err := url.Parse(os.Getenv("CATALOGS_POSTGRES"))
	if err != nil || u.Host == "" {
		t.Fatal("CATALOGS_POSTGRES does not hold the URI of a PostgreSQL server")
	}
	return u
}

func connect(t *testing.T, u *url.URL) *sql.DB {
	t.Helper()
	db, err := sql.Open("pgx", u.String())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	return db
}

func execute(t *testing.T, db *sql.DB, statements ...string) {
	t.Helper()
	for _, s := range statements {
		if _, err := db.ExecContext(t.Context(), s); err != nil {
			t.Fatalf("%s: %v", s, err)
		}
	}
}

// newDatabase makes an empty database and returns where it is.
func newDatabase(t *testing.T) *url.URL {
	t.Helper()
	u := server(t)
	u.Path = fmt.Sprintf("/lake%d", time.Now().UnixNano())
	execute(t, connect(t, server(t)), "CREATE DATABASE "+u.Path[1:])
	return u
}

func on(u *url.URL) Config { return configure("postgres", "uri", u.String()) }

func init() {
	catalogKinds["postgres"] = func(t *testing.T) Config {
		t.Helper()
		return on(newDatabase(t))
	}
}

func TestLookingMakesNothingInPostgres(t *testing.T) {
	u, dir := newDatabase(t), filepath.Join(t.TempDir(), "lake")
	if _, err := OpenExisting(t.Context(), on(u), at(t, "file://"+dir)); !errors.Is(err, ErrNone) || !strings.Contains(err.Error(), `correct the configuration's "catalog.uri"`) {
		t.Errorf("error %v", err)
	}
	var tables int
	if err := connect(t, u).QueryRowContext(t.Context(), "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'").Scan(&tables); err != nil || tables != 0 {
		t.Errorf("made %d tables, %v", tables, err)
	}
	if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the warehouse was made: %v", err)
	}
}

func TestWhatPostgresDoesNotAllowNamesTheRemedy(t *testing.T) {
	full := newDatabase(t)
	role := "guest" + full.Path[1:]
	execute(t, connect(t, full), "CREATE ROLE "+role+" LOGIN PASSWORD 'sesame'")
	changed := func(change func(*url.URL)) *url.URL {
		u := *full
		change(&u)
		return &u
	}
	for name, tc := range map[string]struct {
		uri  *url.URL
		want string
	}{
		"password": {changed(func(u *url.URL) { u.User = url.UserPassword(u.User.Username(), "sesame") }), "does not let user " + full.User.Username() + " in. Correct user and password"},
		"user":     {changed(func(u *url.URL) { u.User = url.UserPassword("nobody", "sesame") }), "does not let user nobody in"},
		"database": {changed(func(u *url.URL) { u.Path = "/nowhere" }), "PostgreSQL database nowhere at 127.0.0.1"},
		"rights":   {changed(func(u *url.URL) { u.User = url.UserPassword(role, "sesame") }), "User " + role + " lacks rights"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(t.Context(), on(tc.uri), at(t, "file://"+t.TempDir()))
			var userError *protocol.Error
			if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, tc.want) {
				t.Errorf("error %v", err)
			}
			if password, _ := tc.uri.User.Password(); err == nil || strings.Contains(err.Error(), password) {
				t.Errorf("the password is in %v", err)
			}
		})
	}
}

// Who may not make tables can use those that are there.
func TestPostgresNeedsNoMoreRightsThanItUses(t *testing.T) {
	u := newDatabase(t)
	warehouse := "file://" + t.TempDir()
	openWith(t, on(u), warehouse)
	role := "writer" + u.Path[1:]
	execute(t, connect(t, u), "CREATE ROLE "+role+" LOGIN PASSWORD 'sesame'",
		"GRANT SELECT, INSERT, UPDATE, DELETE ON iceberg_tables, iceberg_namespace_properties TO "+role)
	u.User = url.UserPassword(role, "sesame")
	cat := openWith(t, on(u), warehouse)
	if err := cat.CreateNamespace(t.Context(), table.Identifier{"ns"}, nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), table.Identifier{"ns", "t"}, schema); err != nil {
		t.Error(err)
	}
}

// The server goes away while it commits: nobody knows whether it did, and
// nothing may say that it did not.
func TestACommitWhoseConnectionBreaksIsNotKnownToBeRefused(t *testing.T) {
	u := newDatabase(t)
	id := table.Identifier{"ns", "t"}
	cat := openWith(t, on(u), "file://"+t.TempDir())
	if err := cat.CreateNamespace(t.Context(), id[:1], nil); err != nil {
		t.Fatal(err)
	}
	if _, err := cat.CreateTable(t.Context(), id, schema); err != nil {
		t.Fatal(err)
	}
	db := connect(t, u)
	holder, err := db.BeginTx(t.Context(), nil)
	if err != nil {
		t.Fatal(err)
	}
	defer holder.Rollback()
	if _, err := holder.ExecContext(t.Context(), "SELECT 1 FROM iceberg_tables FOR UPDATE"); err != nil {
		t.Fatal(err)
	}
	committed := make(chan error)
	go func() {
		_, _, err := cat.CommitTable(t.Context(), id, nil, []table.Update{table.NewSetPropertiesUpdate(iceberg.Properties{"k": "v"})})
		committed <- err
	}()
	for ended := false; !ended; {
		err := db.QueryRowContext(t.Context(), `SELECT coalesce(bool_or(pg_terminate_backend(pid)), false) FROM pg_stat_activity
			WHERE wait_event_type = 'Lock' AND query LIKE 'UPDATE%' AND datname = current_database()`).Scan(&ended)
		if err != nil {
			t.Fatal(err)
		}
	}
	err = <-committed
	var userError *protocol.Error
	if !errors.As(err, &userError) || userError.Kind != protocol.TransientError || errors.Is(err, table.ErrCommitFailed) {
		t.Errorf("error %v", err)
	}
	if err := holder.Rollback(); err != nil {
		t.Error(err)
	}
	if _, err := cat.LoadTable(t.Context(), id); err != nil {
		t.Errorf("the catalog did not come back: %v", err)
	}
}
