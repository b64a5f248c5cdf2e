package snowflake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// linkedRefresher looks at a catalog-linked database at the end of a sync.
type linkedRefresher struct {
	config *linkedConfig
	tables []tableSource
	log    *slog.Logger
}

func (c *linkedConfig) newRefresher(_ Lake, tables []*lake.Table, log *slog.Logger) Refresher {
	r := &linkedRefresher{config: c, log: log}
	for _, t := range tables {
		r.tables = append(r.tables, sourceOf(t.Opened().Identifier()))
	}
	return r
}

// Committed implements [Refresher]. The database finds commits by itself.
func (*linkedRefresher) Committed(context.Context, []*lake.Table) {}

// Finish implements [Refresher].
func (r *linkedRefresher) Finish(ctx context.Context) error {
	var failed []error
	if err := r.config.inspect(ctx, r.tables); err != nil {
		failed = append(failed, err)
	}
	return outcome(ctx, failed, r.config.Required, r.log)
}

// Close implements [Refresher].
func (*linkedRefresher) Close() {}

// check implements mode.
func (c *linkedConfig) check(ctx context.Context, _ Lake, tables []*table.Table) error {
	var sources []tableSource
	for _, t := range tables {
		sources = append(sources, sourceOf(t.Identifier()))
	}
	return c.inspect(ctx, sources)
}

// probe implements mode. A table that is there for a moment only may be found or not.
func (*linkedConfig) probe(context.Context, Lake, *table.Table) error { return nil }

// inspect looks whether the database follows its catalog. A table that it does not
// have yet is found later.
func (c *linkedConfig) inspect(ctx context.Context, tables []tableSource) error {
	client, err := c.open()
	if err != nil {
		return err
	}
	defer client.close()
	role, err := client.login(ctx)
	if err != nil {
		return err
	}
	var link struct {
		ExecutionState string
		FailureDetails []json.RawMessage
	}
	seen, err := client.status(ctx, "SYSTEM$CATALOG_LINK_STATUS", c.Database.sql(), &link)
	if numberOf(err) == linkUnknown {
		seen, err, link.ExecutionState = true, nil, "RUNNING" // the tables tell
	}
	if err != nil {
		return err
	}
	if !seen {
		return explainMissing([]missing{{"there is no catalog-linked database " + c.Database.sql() + " that role " + role + " may use", []string{
			fmt.Sprintf("CREATE DATABASE %s LINKED_CATALOG = (CATALOG = '<catalog integration>', ALLOWED_NAMESPACES = (%s), ALLOWED_WRITE_OPERATIONS = NONE), EXTERNAL_VOLUME = '<external volume>';", c.Database.sql(), namespaces(tables)),
			fmt.Sprintf("GRANT USAGE ON DATABASE %s TO ROLE %s;", c.Database.sql(), quote(role)),
		}}})
	}
	var wrong []missing
	if link.ExecutionState != "RUNNING" || len(link.FailureDetails) > 0 {
		details, _ := json.Marshal(link.FailureDetails) // it was decoded from JSON
		wrong = append(wrong, missing{fmt.Sprintf("the link of database %s to its catalog is %s: %s; correct its catalog integration", c.Database.sql(), link.ExecutionState, details), nil})
	}
	for _, t := range tables {
		var table struct{ ExecutionState string }
		n := tableName{c.Database.name(), t.namespace, t.table}
		seen, err := client.status(ctx, "SYSTEM$AUTO_REFRESH_STATUS", n.sql(), &table)
		if err != nil {
			return err
		}
		if seen && table.ExecutionState == "STOPPED" {
			wrong = append(wrong, missing{fmt.Sprintf("table %s is not refreshed any more", n), []string{
				fmt.Sprintf("ALTER ICEBERG TABLE %s SET AUTO_REFRESH = FALSE;", n.sql()),
				fmt.Sprintf("ALTER ICEBERG TABLE %s REFRESH;", n.sql()),
				fmt.Sprintf("ALTER ICEBERG TABLE %s SET AUTO_REFRESH = TRUE;", n.sql()),
			}})
		}
	}
	return explainMissing(wrong)
}

// namespaces lists the namespaces of tables, as literals.
func namespaces(tables []tableSource) string {
	var all []string
	for _, t := range tables {
		all = append(all, literal(t.namespace))
	}
	slices.Sort(all)
	if all == nil {
		return "'<namespace>'"
	}
	return strings.Join(slices.Compact(all), ", ")
}

// status asks a status function of Snowflake about an object. It returns false if the
// role does not see the object.
func (c *client) status(ctx context.Context, function, name string, into any) (seen bool, err error) {
	text, err := c.value(ctx, "SELECT "+function+"("+literal(name)+")")
	switch {
	case isMissing(err), numberOf(err) == noPrivilege:
		return false, nil
	case errors.Is(err, context.Canceled):
		return false, err
	case hasNoAnswer(err):
		return false, protocol.TransientError.Errorf(err, "Snowflake did not answer about %s (%s).", name, reason(err))
	case err != nil:
		return false, protocol.ConfigError.Errorf(err, "Snowflake does not tell the state of %s: %s.", name, reason(err))
	}
	if err := json.Unmarshal([]byte(text), into); err != nil {
		return false, fmt.Errorf("reading what %s says of %s: %w", function, name, err)
	}
	return true, nil
}
