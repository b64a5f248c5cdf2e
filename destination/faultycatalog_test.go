package main

import (
	"context"
	"io"
	"iter"
	"sync"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
)

// faultyCatalog makes calls of a catalog fail.
type faultyCatalog struct {
	catalog.Catalog
	faults *faults
}

func (c faultyCatalog) CreateNamespace(ctx context.Context, id table.Identifier, props iceberg.Properties) error {
	return c.faults.call(ctx, "CreateNamespace", func() error { return c.Catalog.CreateNamespace(ctx, id, props) })
}

func (c faultyCatalog) CheckNamespaceExists(ctx context.Context, id table.Identifier) (there bool, err error) {
	err = c.faults.call(ctx, "CheckNamespaceExists", func() error {
		there, err = c.Catalog.CheckNamespaceExists(ctx, id)
		return err
	})
	return there, err
}

func (c faultyCatalog) CreateTable(ctx context.Context, id table.Identifier, s *iceberg.Schema, opts ...catalog.CreateTableOpt) (t *table.Table, err error) {
	err = c.faults.call(ctx, "CreateTable", func() error {
		t, err = c.Catalog.CreateTable(ctx, id, s, opts...)
		return err
	})
	return t, err
}

func (c faultyCatalog) LoadTable(ctx context.Context, id table.Identifier) (t *table.Table, err error) {
	err = c.faults.call(ctx, "LoadTable", func() error {
		t, err = c.Catalog.LoadTable(ctx, id)
		return err
	})
	return t, err
}

func (c faultyCatalog) IsCurrent(ctx context.Context, t *table.Table) (current bool, err error) {
	err = c.faults.call(ctx, "IsCurrent", func() error {
		current, err = c.Catalog.(catalogs.FreshnessChecker).IsCurrent(ctx, t)
		return err
	})
	return current, err
}

func (c faultyCatalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (meta table.Metadata, location string, err error) {
	err = c.faults.call(ctx, "CommitTable", func() error {
		meta, location, err = c.Catalog.CommitTable(ctx, id, reqs, updates)
		return err
	})
	return meta, location, err
}

func (c faultyCatalog) ListNamespaces(ctx context.Context, parent table.Identifier) (ids []table.Identifier, err error) {
	err = c.faults.call(ctx, "ListNamespaces", func() error {
		ids, err = c.Catalog.ListNamespaces(ctx, parent)
		return err
	})
	return ids, err
}

func (c faultyCatalog) ListTables(ctx context.Context, namespace table.Identifier) iter.Seq2[table.Identifier, error] {
	return func(yield func(table.Identifier, error) bool) {
		if err := c.faults.call(ctx, "ListTables", func() error { return nil }); err != nil {
			yield(nil, err)
			return
		}
		c.Catalog.ListTables(ctx, namespace)(yield)
	}
}

func (c faultyCatalog) DropTable(ctx context.Context, id table.Identifier) error {
	return c.faults.call(ctx, "DropTable", func() error { return c.Catalog.DropTable(ctx, id) })
}

func (c faultyCatalog) RenameTable(ctx context.Context, from, to table.Identifier) (t *table.Table, err error) {
	err = c.faults.call(ctx, "RenameTable", func() error {
		t, err = c.Catalog.RenameTable(ctx, from, to)
		return err
	})
	return t, err
}

// faultyCloser makes the closing of a catalog fail, which nothing interrupts.
type faultyCloser struct {
	io.Closer
	faults *faults
}

// Close closes the catalog also when it fails.
func (c faultyCloser) Close() error {
	sound := sync.OnceValue(c.Closer.Close)
	defer func() { _ = sound() }()
	return c.faults.call(context.Background(), "CloseCatalog", sound)
}
