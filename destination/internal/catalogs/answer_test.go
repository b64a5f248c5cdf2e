package catalogs

import (
	"context"
	"errors"
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
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := &Catalog{Catalog: deaf{}, classify: func(err error) error { return err }}
				began := time.Now()
				err := call(t.Context(), c)
				if took := time.Since(began); took != patience {
					t.Errorf("it took %v", took)
				}
				var told *protocol.Error
				if !errors.As(err, &told) || told.Kind != protocol.TransientError {
					t.Errorf("the error is %v", err)
				}
				if errors.Is(err, table.ErrCommitFailed) {
					t.Error("a commit without an answer counts as refused")
				}
				// Whoever calls may have less patience.
				ctx, cancel := context.WithTimeout(t.Context(), time.Second)
				defer cancel()
				began = time.Now()
				if err := call(ctx, c); !errors.Is(err, context.DeadlineExceeded) || errors.As(err, &told) {
					t.Errorf("after a second the error is %v", err)
				}
				if took := time.Since(began); took != time.Second {
					t.Errorf("it took %v of one second", took)
				}
			})
		})
	}
}
