package lake_test

import (
	"context"
	"errors"
	"strings"
	"testing"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestATableWithAPropertyThatACommitWouldFailOn(t *testing.T) {
	cat := laketest.OpenCatalog(t, t.TempDir())
	if _, err := lake.OpenUnbound(t.Context(), cat, laketest.Plain("t"), lake.Options{}); err != nil {
		t.Fatal(err)
	}
	// The library refuses to write such metadata, so another program has to have done it.
	cat.Backend = withProperty{cat.Backend, table.MetadataCompressionKey, "bogus"}
	_, err := lake.OpenUnbound(t.Context(), cat, laketest.Plain("t"), lake.Options{})
	var e *protocol.Error
	if !errors.As(err, &e) || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, "write.metadata.compression-codec of table ns.t") {
		t.Errorf("got %v", err)
	}
}

// withProperty is a catalog whose tables have a property that another program has set.
type withProperty struct {
	catalog.Catalog
	key, value string
}

func (c withProperty) LoadTable(ctx context.Context, id table.Identifier) (*table.Table, error) {
	t, err := c.Catalog.LoadTable(ctx, id)
	if err != nil {
		return nil, err
	}
	b, err := table.MetadataBuilderFromBase(t.Metadata(), t.MetadataLocation())
	if err != nil {
		return nil, err
	}
	if err := b.SetProperties(iceberg.Properties{c.key: c.value}); err != nil {
		return nil, err
	}
	meta, err := b.Build()
	if err != nil {
		return nil, err
	}
	return table.New(id, meta, t.MetadataLocation(), t.FS, nil), nil
}
