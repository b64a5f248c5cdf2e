package snowflake

import (
	"context"
	"errors"
	"fmt"
	"strings"

	sf "github.com/snowflakedb/gosnowflake/v2"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Numbers of Snowflake's errors.
const (
	noWarehouse      = 606   // none is running
	objectMissing    = 2003  // or the role may not see it
	schemaMissing    = 2043  // the same, of DESCRIBE
	noPrivilege      = 3001  // the role sees the object
	equalityDeletes  = 91968 // the table has delete files that Snowflake cannot read
	wrongPassword    = 390100
	wrongJWT         = 390144
	roleMissing      = 390189
	warehouseMissing = 390201
	invalidToken     = 390303
	expiredToken     = 390318
	wrongAccount     = sf.ErrCodeFailedToConnect

	linkUnknown  = 370001 // of links that work, too
	driverErrors = 260000 // from here on: of the driver, and of logins
)

func numberOf(err error) int {
	var e *sf.SnowflakeError
	if errors.As(err, &e) {
		return e.Number
	}
	return 0
}

// isMissing reports whether an object is not there, or may not be seen.
func isMissing(err error) bool {
	n := numberOf(err)
	return n == objectMissing || n == schemaMissing
}

// hasNoAnswer reports whether a statement failed without an answer of Snowflake.
func hasNoAnswer(err error) bool {
	var known *protocol.Error
	n := numberOf(err)
	return err != nil && !errors.As(err, &known) && !errors.Is(err, context.Canceled) && (n == 0 || n >= driverErrors && n != linkUnknown)
}

// statementError adds the statement to an error. No statement has a secret in it.
func statementError(err error, statement string) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w", statement, err)
}

// explainLogin finds the remedy if Snowflake does not let the user in.
func (c *Connection) explainLogin(err error) error {
	who := "account " + c.Account
	if c.User != "" {
		who = "user " + c.User + " of account " + c.Account
	}
	role := c.Role
	if role == "" {
		role = `"<role>"`
	}
	n := numberOf(err)
	switch {
	case n == roleMissing:
		return protocol.ConfigError.Errorf(err, "Snowflake does not give user %s the role %s. An administrator grants it with:\nGRANT ROLE %s TO USER %s;", c.User, c.Role, role.sql(), userSQL(c.User))
	case n == warehouseMissing:
		return protocol.ConfigError.Errorf(err, "Snowflake has no virtual warehouse %s that the role may use. Correct the configuration's \"snowflake.warehouse\" or leave it out, or let an administrator run:\nGRANT USAGE ON WAREHOUSE %s TO ROLE %s;", c.Warehouse, c.Warehouse.sql(), role.sql())
	case n == wrongAccount, n == sf.ErrFailedToAuth: // HTTP 403, 404
		return protocol.ConfigError.Errorf(err, "Snowflake has no account %s at this address. Correct the configuration's \"snowflake.account\" or \"snowflake.endpoint\".", c.Account)
	case n == wrongPassword, n == wrongJWT, n == invalidToken, n == expiredToken, n >= 390000 && n < 395000:
		remedy := ""
		if a, chosenErr := c.Auth.chosen(); chosenErr == nil {
			remedy = a.remedy(c.User)
		}
		return protocol.ConfigError.Errorf(err, "Snowflake does not let %s in (%s). %s", who, reason(err), remedy)
	case strings.Contains(err.Error(), "oauth2: "):
		return protocol.ConfigError.Errorf(err, "The authorization server at the configuration's \"snowflake.auth.token_uri\" gives no token. Correct it, \"snowflake.auth.client_id\" or \"snowflake.auth.client_secret\".")
	}
	return protocol.TransientError.Errorf(err, "Snowflake's account %s cannot be reached. Try again when it can, or correct the configuration's \"snowflake.account\" or \"snowflake.endpoint\".", c.Account)
}

// reason is what Snowflake says, as a part of a sentence.
func reason(err error) string {
	var e *sf.SnowflakeError
	if errors.As(err, &e) {
		err = e
	}
	return strings.TrimRight(err.Error(), ".\n")
}

// explain finds the remedy for a statement about a table that failed.
func (c *registerConfig) explain(err error, n tableName, role string) error {
	var known *protocol.Error
	switch {
	case err == nil, errors.As(err, &known), errors.Is(err, context.Canceled):
		return err
	case hasNoAnswer(err):
		return protocol.TransientError.Errorf(err, "Snowflake did not answer about table %s (%v).", n, reason(err))
	}
	switch numberOf(err) {
	case noWarehouse:
		return protocol.ConfigError.Errorf(err, "Snowflake wants a virtual warehouse for table %s: %s. Give the configuration's \"snowflake.warehouse\" one that role %s may use.", n, reason(err), role)
	case objectMissing, schemaMissing, noPrivilege:
		return protocol.ConfigError.Errorf(err, "Role %s may not do this to table %s in Snowflake: %s. Run check, which says what an administrator must do.", role, n, reason(err))
	case equalityDeletes:
		return protocol.ConfigError.Errorf(err, "Table %s has equality deletes, which Snowflake cannot read: %s. Another program wrote them; let it compact the table, and make it write position deletes.", n, reason(err))
	}
	return protocol.ConfigError.Errorf(err, "Snowflake refuses table %s: %s. Run check, which says what an administrator must do.", n, reason(err))
}

// messageOf is what an error says to the user.
func messageOf(err error) string {
	if e := (*protocol.Error)(nil); errors.As(err, &e) {
		return e.Message
	}
	return err.Error()
}

// below reports whether a location is another one or lies below it.
func below(inner, outer string) bool {
	return filenames.Within(filenames.Plain(inner), filenames.Plain(outer))
}

// relative returns a location as seen from another one, which it lies below.
func relative(location, base string) string {
	return strings.TrimPrefix(strings.TrimPrefix(filenames.Plain(location), filenames.Plain(base)), "/")
}
