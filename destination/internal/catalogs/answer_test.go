package catalogs

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// deaf is a catalog that never answers.
type deaf struct{ catalog.Catalog }

func (deaf) LoadTable(ctx context.Context, _ table.Identifier) (*table.Table, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (deaf) CreateTable(ctx context.Context, _ table.Identifier, _ *iceberg.Schema, _ ...catalog.CreateTableOpt) (*table.Table, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (deaf) CommitTable(ctx context.Context, _ table.Identifier, _ []table.Requirement, _ []table.Update) (table.Metadata, string, error) {
	<-ctx.Done()
	return nil, "", ctx.Err()
}

func (deaf) CreateNamespace(ctx context.Context, _ table.Identifier, _ iceberg.Properties) error {
	<-ctx.Done()
	return ctx.Err()
}

func (deaf) CheckNamespaceExists(ctx context.Context, _ table.Identifier) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

func (deaf) DropTable(ctx context.Context, _ table.Identifier) error {
	<-ctx.Done()
	return ctx.Err()
}

func (deaf) RenameTable(ctx context.Context, _, _ table.Identifier) (*table.Table, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (deaf) CheckTableExists(ctx context.Context, _ table.Identifier) (bool, error) {
	<-ctx.Done()
	return false, ctx.Err()
}

func (deaf) ListTables(ctx context.Context, _ table.Identifier) iter.Seq2[table.Identifier, error] {
	return func(yield func(table.Identifier, error) bool) {
		<-ctx.Done()
		yield(nil, ctx.Err())
	}
}

func (deaf) DropNamespace(ctx context.Context, _ table.Identifier) error {
	<-ctx.Done()
	return ctx.Err()
}

func (deaf) ListNamespaces(ctx context.Context, _ table.Identifier) ([]table.Identifier, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (deaf) LoadNamespaceProperties(ctx context.Context, _ table.Identifier) (iceberg.Properties, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func (deaf) UpdateNamespaceProperties(ctx context.Context, _ table.Identifier, _ []string, _ iceberg.Properties) (catalog.PropertiesUpdateSummary, error) {
	<-ctx.Done()
	return catalog.PropertiesUpdateSummary{}, ctx.Err()
}

func TestNoCallWaitsForEver(t *testing.T) {
	id := table.Identifier{"whoop", "sleep"}
	for name, call := range map[string]func(context.Context, *Catalog) error{
		"LoadTable": func(ctx context.Context, c *Catalog) error {
			_, err := c.LoadTable(ctx, id)
			return err
		},
		"CreateTable": func(ctx context.Context, c *Catalog) error {
			_, err := c.CreateTable(ctx, id, nil)
			return err
		},
		"CommitTable": func(ctx context.Context, c *Catalog) error {
			_, _, err := c.CommitTable(ctx, id, nil, nil)
			return err
		},
		"CreateNamespace": func(ctx context.Context, c *Catalog) error { return c.CreateNamespace(ctx, id[:1], nil) },
		"CheckNamespaceExists": func(ctx context.Context, c *Catalog) error {
			_, err := c.CheckNamespaceExists(ctx, id[:1])
			return err
		},
		"DropTable": func(ctx context.Context, c *Catalog) error { return c.DropTable(ctx, id) },
		"RenameTable": func(ctx context.Context, c *Catalog) error {
			_, err := c.RenameTable(ctx, id, id)
			return err
		},
		"CheckTableExists": func(ctx context.Context, c *Catalog) error {
			_, err := c.CheckTableExists(ctx, id)
			return err
		},
		"ListTables": func(ctx context.Context, c *Catalog) (err error) {
			for _, err = range c.ListTables(ctx, id[:1]) {
			}
			return err
		},
		"DropNamespace": func(ctx context.Context, c *Catalog) error { return c.DropNamespace(ctx, id[:1]) },
		"ListNamespaces": func(ctx context.Context, c *Catalog) error {
			_, err := c.ListNamespaces(ctx, nil)
			return err
		},
		"LoadNamespaceProperties": func(ctx context.Context, c *Catalog) error {
			_, err := c.LoadNamespaceProperties(ctx, id[:1])
			return err
		},
		"UpdateNamespaceProperties": func(ctx context.Context, c *Catalog) error {
			_, err := c.UpdateNamespaceProperties(ctx, id[:1], nil, nil)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &Catalog{Backend: deaf{}, classify: func(err error) error { return err }, name: "The catalog", remedy: "Start it."}
				began, limit := time.Now(), changeTimeout
				if slices.Contains([]string{"LoadTable", "CheckNamespaceExists", "CheckTableExists", "ListTables", "ListNamespaces", "LoadNamespaceProperties"}, name) {
					limit = readTimeout
				}
				err := call(t.Context(), c)
				if took := time.Since(began); took != limit {
					t.Errorf("it took %v", took)
				}
				var userError *protocol.Error
				if !errors.As(err, &userError) || userError.Kind != protocol.TransientError || userError.Message != fmt.Sprintf("The catalog has not answered for %s. Start it.", limit) {
					t.Errorf("the error is %v", err)
				}
				if errors.Is(err, table.ErrCommitFailed) {
					t.Error("a commit without an answer counts as refused")
				}
				// Whoever calls may have less patience.
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began = time.Now()
				if err := call(ctx, c); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &userError) {
					t.Errorf("after a second the error is %v", err)
				}
				if took := time.Since(began); took != time.Second {
					t.Errorf("it took %v of one second", took)
				}
			})
		})
	}
}
