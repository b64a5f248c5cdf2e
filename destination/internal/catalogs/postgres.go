package catalogs

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"io"
	"net"
	"net/url"
	"slices"
	"strings"
	"time"

	sqlcat "github.com/apache/iceberg-go/catalog/sql"
	"github.com/apache/iceberg-go/table"
	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

const (
	// postgresConnections bounds what one process holds; a server admits 100
	// unless it is told otherwise.
	postgresConnections = 4
	postgresTimeout     = 20 * time.Second // to connect, unless the URI says connect_timeout
)

// postgresConfig is for a catalog that several machines share.
type postgresConfig struct {
	URI string `json:"uri" jsonschema:"required,title=Connection URI" jsonschema_description:"postgres://user:password@host:port/database, with libpq's options behind a question mark." jsonschema_extras:"airbyte_secret=true"`
}

func (c *postgresConfig) validate() error {
	_, err := parsePostgres(c.URI)
	return err
}

func (*postgresConfig) inWarehouse(string) bool { return false }

func (c *postgresConfig) open(ctx context.Context, files *storage.Storage, create bool) (*Catalog, error) {
	conn, err := parsePostgres(c.URI)
	if err != nil {
		return nil, err
	}
	if create {
		if err := files.Make(); err != nil {
			return nil, err
		}
	}
	db := stdlib.OpenDB(*conn)
	db.SetMaxOpenConns(postgresConnections)
	db.SetMaxIdleConns(postgresConnections)
	db.SetConnMaxIdleTime(time.Minute) // between commits others may need them more
	opened := false
	defer func() {
		if !opened {
			_ = db.Close() // the error that is returned tells more
		}
	}()
	server := postgres{host: conn.Host, port: conn.Port, user: conn.User, database: conn.Database}

	cat, err := server.catalog(ctx, db, files, create)
	if err != nil {
		return nil, err
	}
	opened = true
	result := &Catalog{
		classify: server.classify, storage: files, clientRemovesMetadata: true,
		name: fmt.Sprintf("The %s, which is the catalog,", server), remedy: `Check the server, the network and "catalog.uri", then start again.`,
	}
	tables := sqlCatalog{cat, db, files.Properties(), dollar, server.classify, &result.known}
	result.Backend, result.Closer = tables, tables
	return result, nil
}

// parsePostgres reads a connection URI. Its errors show nothing of it: where
// the password begins and ends in a URI that is broken, nobody can say.
func parsePostgres(uri string) (*pgx.ConnConfig, error) {
	malformed := protocol.ConfigError.Errorf(nil, `The configuration's "catalog.uri" is not a PostgreSQL URI. It must be postgres://user:password@host:port/database, with %%xx for special characters in the password; files that its options name must be readable.`)
	u, err := url.Parse(uri)
	if err != nil || u.Scheme != "postgres" && u.Scheme != "postgresql" {
		return nil, malformed
	}
	if u.User == nil && strings.Contains(uri, "@") { // a password with a bare /, ? or # in it
		return nil, malformed
	}
	conn, err := pgx.ParseConfig(uri)
	if err != nil {
		return nil, malformed
	}
	if !u.Query().Has("connect_timeout") {
		conn.ConnectTimeout = postgresTimeout
	}
	// No statement comes twice with the same text, and poolers such as PgBouncer
	// keep no prepared ones.
	conn.DefaultQueryExecMode = pgx.QueryExecModeSimpleProtocol
	return conn, nil
}

// postgres is the database of a catalog, for messages.
type postgres struct {
	host           string // or the directory of a socket
	port           uint16
	user, database string
}

func (p postgres) String() string {
	return fmt.Sprintf("PostgreSQL database %s at %s port %d", p.database, p.host, p.port)
}

// catalog opens the catalog in a database. Only where its tables are missing,
// and create is true, does it make them, so that a user who may not make tables
// can use a catalog that is there.
func (p postgres) catalog(ctx context.Context, db *sql.DB, files *storage.Storage, create bool) (*sqlcat.Catalog, error) {
	for attempt := 1; ; attempt++ {
		var there bool
		err := db.QueryRowContext(ctx, "SELECT to_regclass('iceberg_tables') IS NOT NULL AND to_regclass('iceberg_namespace_properties') IS NOT NULL").Scan(&there)
		if err != nil {
			return nil, p.classify(err)
		}
		if !there && !create {
			return nil, noLake(files, p.String(), "catalog.uri", nil)
		}
		properties := files.Properties()
		properties["init_catalog_tables"] = fmt.Sprint(!there)
		cat, err := sqlcat.NewCatalog(catalogName, db, sqlcat.Postgres, properties)
		switch {
		case err == nil:
			return cat, nil
		case attempt < 3 && isConcurrentCreation(err): // at most once for each of the two tables
		default:
			return nil, p.classify(err)
		}
	}
}

// isConcurrentCreation says whether CREATE TABLE IF NOT EXISTS has met another one of
// the same table that was not committed yet; PostgreSQL fails one of the two.
func isConcurrentCreation(err error) bool {
	var e *pgconn.PgError
	return errors.As(err, &e) && slices.Contains([]string{"23505", "42P07", "42710"}, e.Code) // unique_violation, duplicate_table, duplicate_object
}

// classify finds the remedy for an error of the database; other errors are
// returned as they are. Codes: https://www.postgresql.org/docs/current/errcodes-appendix.html.
func (p postgres) classify(err error) error {
	var e *pgconn.PgError
	if errors.As(err, &e) {
		return p.classifyCode(e.Code, err)
	}
	if errors.Is(err, context.Canceled) {
		return err
	}
	// A connection that breaks while a transaction commits leaves its outcome
	// unknown: none of these is [table.ErrCommitFailed].
	if errors.As(err, new(*pgconn.ConnectError)) {
		return protocol.TransientError.Errorf(err, "The %s, which is the catalog, cannot be reached. Start it, or correct the configuration's \"catalog.uri\".", p)
	}
	if errors.As(err, new(net.Error)) || errors.Is(err, io.ErrUnexpectedEOF) || errors.Is(err, io.EOF) || errors.Is(err, net.ErrClosed) {
		return protocol.TransientError.Errorf(err, "The connection to the %s, which is the catalog, broke. Try again.", p)
	}
	return err
}

func (p postgres) classifyCode(code string, err error) error {
	switch code {
	case "28P01", "28000": // invalid_password, invalid_authorization_specification
		return protocol.ConfigError.Errorf(err, "The %s, which is the catalog, does not let user %s in. Correct user and password in the configuration's \"catalog.uri\", or the server's pg_hba.conf.", p, p.user)
	case "3D000": // invalid_catalog_name
		return protocol.ConfigError.Errorf(err, "The %s, configured as the catalog, does not exist. Create it with CREATE DATABASE, or correct the configuration's \"catalog.uri\".", p)
	case "42501", "3F000": // insufficient_privilege, invalid_schema_name
		return protocol.ConfigError.Errorf(err, "User %s lacks rights in the %s, which is the catalog. GRANT SELECT, INSERT, UPDATE and DELETE on iceberg_tables and iceberg_namespace_properties, and CREATE and USAGE on the schema if they do not exist yet.", p.user, p)
	case "25006": // read_only_sql_transaction
		return protocol.ConfigError.Errorf(err, "The %s, which is the catalog, is read-only. Give the primary server in the configuration's \"catalog.uri\", not a standby.", p)
	case "40001", "40P01", "55P03": // serialization_failure, deadlock_detected, lock_not_available
		// The transaction was rolled back.
		return protocol.TransientError.Errorf(fmt.Errorf("%w: %w", table.ErrCommitFailed, err), "Other programs keep writing to the %s, which is the catalog. Try again later.", p)
	}
	switch code[:min(2, len(code))] {
	case "08", "53", "57", "58": // connection, resources, operator's intervention, system
		return protocol.TransientError.Errorf(err, "The %s, which is the catalog, is out of service. Try again when it is back.", p)
	}
	return err
}
