package catalogs

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/apache/iceberg-go/table"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Where a broken URI's password begins and ends nobody can say, so nothing of
// the URI is shown.
func TestAURIThatIsNoneIsToldWithoutItsPassword(t *testing.T) {
	for name, uri := range map[string]string{
		"empty":              "",
		"not a URI":          "user=u password=sesame host=127.0.0.1",
		"other scheme":       "mysql://u:sesame@127.0.0.1/lake",
		"bad escape":         "postgres://u:sesame%zz@127.0.0.1/lake",
		"slash in password":  "postgres://u:sesame/x@127.0.0.1/lake",
		"number and slash":   "postgres://u:12/sesame@127.0.0.1/lake",
		"number and mark":    "postgres://u:12?sesame@127.0.0.1/lake",
		"number and hash":    "postgres://u:12#sesame@127.0.0.1/lake",
		"bad port":           "postgres://u:sesame@127.0.0.1:many/lake",
		"bad option":         "postgres://u:sesame@127.0.0.1/lake?sslmode=perhaps",
		"no such file":       "postgres://u:sesame@127.0.0.1/lake?sslmode=verify-full&sslrootcert=/nowhere/ca.pem",
		"bad timeout option": "postgres://u:sesame@127.0.0.1/lake?connect_timeout=sesame",
	} {
		t.Run(name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "lake")
			_, err := Open(t.Context(), configure("postgres", "uri", uri), at(t, "file://"+dir))
			var userError *protocol.Error
			if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, `"catalog.uri" is not a PostgreSQL URI. It must be postgres://user:password@host:port/database, with %xx for`) {
				t.Errorf("error %v", err)
			}
			if strings.Contains(fmt.Sprintf("%+v", err), "sesame") {
				t.Errorf("the password is in %v", err)
			}
			if _, err := os.Stat(dir); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the warehouse was made: %v", err)
			}
		})
	}
}

func TestAServerThatIsNotThereIsTransient(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	for name, open := range map[string]func(context.Context, Config, *storage.Storage) (*Catalog, error){"open": Open, "look": OpenExisting} {
		t.Run(name, func(t *testing.T) {
			_, err := open(t.Context(), configure("postgres", "uri", "postgres://u:sesame@"+address+"/lake"), at(t, "file://"+t.TempDir()))
			var userError *protocol.Error
			if !errors.As(err, &userError) || userError.Kind != protocol.TransientError || !strings.Contains(userError.Message, "cannot be reached. Start it, or correct") {
				t.Errorf("error %v", err)
			}
			if errors.Is(err, ErrNone) || strings.Contains(err.Error(), "sesame") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// A commit is refused for certain only by what rolls a transaction back;
// whatever breaks the connection leaves the outcome open.
func TestWhatPostgresSaysNamesTheRemedy(t *testing.T) {
	code := func(c string) error { return fmt.Errorf("committing: %w", &pgconn.PgError{Code: c}) }
	for name, tc := range map[string]struct {
		err     error
		kind    protocol.Kind
		want    string
		refused bool
	}{
		"bad password":   {code("28P01"), protocol.ConfigError, "does not let user u in. Correct user and password", false},
		"no database":    {code("3D000"), protocol.ConfigError, "does not exist. Create it with CREATE DATABASE", false},
		"no rights":      {code("42501"), protocol.ConfigError, "User u lacks rights", false},
		"a standby":      {code("25006"), protocol.ConfigError, "is read-only. Give the primary server", false},
		"serialization":  {code("40001"), protocol.TransientError, "Try again later", true},
		"deadlock":       {code("40P01"), protocol.TransientError, "Try again later", true},
		"shutdown":       {code("57P01"), protocol.TransientError, "out of service", false},
		"too many":       {code("53300"), protocol.TransientError, "out of service", false},
		"disk full":      {code("53100"), protocol.TransientError, "out of service", false},
		"broken":         {fmt.Errorf("committing: %w", io.ErrUnexpectedEOF), protocol.TransientError, "broke. Try again", false},
		"broken network": {&net.OpError{Op: "read", Err: errors.New("connection reset by peer")}, protocol.TransientError, "broke. Try again", false},
	} {
		t.Run(name, func(t *testing.T) {
			err := postgres{host: "h", port: 5432, user: "u", database: "d"}.classify(tc.err)
			var userError *protocol.Error
			if !errors.As(err, &userError) || userError.Kind != tc.kind || !strings.Contains(userError.Message, tc.want) {
				t.Errorf("error %v", err)
			}
			if errors.Is(err, table.ErrCommitFailed) != tc.refused {
				t.Errorf("refused for certain: %t", !tc.refused)
			}
			if !errors.Is(err, tc.err) {
				t.Error("the cause is lost")
			}
		})
	}
	for _, other := range []error{code("42601"), context.Canceled, errors.New("requirement")} {
		if err := (postgres{}).classify(other); !errors.Is(err, other) || errors.As(err, new(*protocol.Error)) {
			t.Errorf("%v became %v", other, err)
		}
	}
}
