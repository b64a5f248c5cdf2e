package snowflake

import (
	"context"
	"database/sql"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"time"

	sf "github.com/snowflakedb/gosnowflake/v2"
	"github.com/snowflakedb/gosnowflake/v2/sflog"

	_ "github.com/ingest-connectors/whoop-iceberg/destination/internal/snowflake/driverenv" // before the driver
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func init() {
	// Its errors are returned, too, and standard error is for ours.
	if err := sf.GetLogger().SetLogLevelInt(sflog.LevelOff); err != nil {
		panic(err) // the level exists
	}
}

const (
	loginTimeout     = 25 * time.Second
	closeTimeout     = 3 * time.Second
	questionTimeout  = 25 * time.Second
	statementTimeout = time.Minute // it reads the manifests of a table
	maxSessions      = 4           // each costs a login
	maxRetries       = 2           // of a request that Snowflake has not answered
)

// Connection is how Snowflake is reached.
type Connection struct {
	Account   string     `json:"account" jsonschema:"required,title=Account,example=myorg-account"`
	User      string     `json:"user,omitempty" jsonschema:"title=User"`
	Role      identifier `json:"role,omitempty" jsonschema:"title=Role"`
	Warehouse identifier `json:"warehouse,omitempty" jsonschema:"title=Virtual warehouse"`
	Endpoint  string     `json:"endpoint,omitempty" jsonschema:"title=Endpoint,example=https://myorg-account.privatelink.snowflakecomputing.com"`
	Auth      auth       `json:"auth" jsonschema:"required,title=Authentication"`

	transport http.RoundTripper // of a test; nil: the driver's own
}

// Descriptions describes the keys in the specification.
func (Connection) Descriptions() map[string]string {
	return map[string]string{
		"account":   "The account identifier, as in myorg-account.",
		"user":      "The user to log in as. OAuth needs none.",
		"role":      "The role that owns the tables. The default is the user's own.",
		"warehouse": "The virtual warehouse, which Snowflake asks for when it creates a table. The default is the user's own.",
		"endpoint":  "The address of the account, if it is not https://ACCOUNT.snowflakecomputing.com.",
		"auth":      "How this program proves to Snowflake who it is.",
	}
}

var accountIdentifier = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9_-]*(\.[A-Za-z0-9_-]+)*$`)

// faults returns what is wrong with the configuration, and the remedies.
func (c *Connection) faults() []error {
	var faults []error
	if !accountIdentifier.MatchString(c.Account) || strings.Contains(c.Account, "snowflakecomputing") {
		faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.account" is not an account identifier. Give it as in "myorg-account", without https:// and .snowflakecomputing.com.`))
	}
	faults = append(faults, checkName("role", c.Role, false), checkName("warehouse", c.Warehouse, false))
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil || u.Hostname() == "" || u.Scheme != "https" && !(u.Scheme == "http" && isLoopback(u.Hostname())) || strings.Trim(u.Path, "/") != "" || u.User != nil || u.RawQuery != "" {
			faults = append(faults, protocol.ConfigError.Errorf(nil, `The configuration's "snowflake.endpoint" is not the address of an account. It must be as in "https://myorg-account.privatelink.snowflakecomputing.com".`))
		}
	}
	a, err := c.Auth.chosen()
	if err != nil {
		return append(faults, err)
	}
	return append(faults, a.validate(c)...)
}

func isLoopback(host string) bool { return host == "127.0.0.1" || host == "::1" || host == "localhost" }

// client is a connection to Snowflake that logs in when it is first used.
type client struct {
	Connection
	db *sql.DB
}

// open prepares a connection.
func (c Connection) open() (*client, error) {
	a, err := c.Auth.chosen()
	if err != nil {
		return nil, err
	}
	disabled := "false"
	cfg := sf.Config{
		Account: c.Account, User: c.User, Role: string(c.Role), Warehouse: string(c.Warehouse),
		MaxRetryCount: maxRetries, // contexts limit the time
		Application:   "whoop-iceberg",
		Params:        map[string]*string{"CLIENT_TELEMETRY_ENABLED": &disabled},
		// The driver does not tell which certificate an OCSP answer is for. Revoked
		// certificates are found in lists instead, where those can be had.
		DisableOCSPChecks:       true,
		CertRevocationCheckMode: sf.CertRevocationCheckAdvisory,
		CrlOnDiskCacheDisabled:  true,
		// Nothing of a login is stored on this machine.
		ClientStoreTemporaryCredential: sf.ConfigBoolFalse,
		ClientRequestMfaToken:          sf.ConfigBoolFalse,
		DisableQueryContextCache:       true,
		Transporter:                    c.transport,
	}
	if err := a.apply(&cfg); err != nil {
		return nil, err
	}
	if c.Endpoint != "" {
		u, err := url.Parse(c.Endpoint)
		if err != nil {
			return nil, err
		}
		cfg.Protocol, cfg.Host = u.Scheme, u.Hostname()
		if port := u.Port(); port != "" {
			if cfg.Port, err = strconv.Atoi(port); err != nil {
				return nil, err
			}
		}
	}
	db := sql.OpenDB(sf.NewConnector(sf.SnowflakeDriver{}, cfg))
	db.SetMaxOpenConns(maxSessions)
	db.SetMaxIdleConns(maxSessions)
	db.SetConnMaxIdleTime(10 * time.Minute) // Snowflake ends sessions that are idle for hours
	return &client{c, db}, nil
}

// close ends the sessions. It does not wait long: the driver sets no limit, and
// Snowflake ends idle sessions by itself.
func (c *client) close() {
	select {
	case <-goroutine.Start(c.db.Close): //nolint:errcheck // nothing depends on it
	case <-time.After(closeTimeout):
	}
}

// ask lets the driver do something within a time. A driver whose time is over tells
// Snowflake to abort the statement and waits for the answer, for which it has no
// limit: it is left to it.
func ask(ctx context.Context, limit time.Duration, do func(context.Context) error) error {
	limited, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	select {
	case err := <-goroutine.Start(func() error { return do(limited) }):
		return err
	case <-limited.Done():
		return limited.Err()
	}
}

// login makes sure that Snowflake lets the user in, and returns the role that the
// session has.
func (c *client) login(ctx context.Context) (role string, err error) {
	var current sql.NullString
	err = ask(ctx, loginTimeout, func(ctx context.Context) error {
		return c.db.QueryRowContext(ctx, "SELECT CURRENT_ROLE()").Scan(&current)
	})
	switch {
	case err != nil && ctx.Err() != nil:
		return "", ctx.Err()
	case err != nil:
		return "", c.explainLogin(err)
	case current.String == "":
		return "PUBLIC", nil
	}
	return current.String, nil
}

// exec runs a statement without a result.
func (c *client) exec(ctx context.Context, statement string) error {
	return statementError(ask(ctx, statementTimeout, func(ctx context.Context) error {
		_, err := c.db.ExecContext(ctx, statement)
		return err
	}), statement)
}

// value runs a statement whose result is one text.
func (c *client) value(ctx context.Context, statement string) (string, error) {
	var value sql.NullString
	if err := ask(ctx, questionTimeout, func(ctx context.Context) error {
		return c.db.QueryRowContext(ctx, statement).Scan(&value)
	}); err != nil {
		return "", statementError(err, statement)
	}
	return value.String, nil
}

// rows runs a statement and returns its result. Columns have the names that Snowflake
// gives them, in lower case.
func (c *client) rows(ctx context.Context, statement string) ([]map[string]string, error) {
	var all []map[string]string
	if err := ask(ctx, questionTimeout, func(ctx context.Context) (err error) {
		all, err = c.query(ctx, statement)
		return err
	}); err != nil {
		return nil, statementError(err, statement)
	}
	return all, nil
}

func (c *client) query(ctx context.Context, statement string) (all []map[string]string, err error) {
	rows, err := c.db.QueryContext(ctx, statement)
	if err != nil {
		return nil, err
	}
	defer rows.Close()
	columns, err := rows.Columns()
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		values := make([]sql.NullString, len(columns))
		into := make([]any, len(columns))
		for i := range values {
			into[i] = &values[i]
		}
		if err := rows.Scan(into...); err != nil {
			return nil, err
		}
		row := map[string]string{}
		for i, column := range columns {
			row[strings.ToLower(column)] = values[i].String
		}
		all = append(all, row)
	}
	return all, rows.Err()
}
