package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/apache/iceberg-go/catalog"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Check reads the whole configuration, then does once, on a probe table, all
// that a sync does: it makes the table, writes a row, reads it back and removes
// what it made. The step that fails is named.
func (d destination) Check(ctx context.Context, raw json.RawMessage, _ *protocol.Emitter) error {
	config, err := parseConfig(raw)
	if err != nil {
		return err
	}
	return withShutdownTimeout(ctx, func() error {
		cat, err := d.openCatalog(ctx, config)
		if err != nil {
			return err
		}
		err = checkPlaces(ctx, config, cat)
		if err == nil {
			err = checkTable(ctx, config, cat)
		}
		return errors.Join(err, cat.Close())
	})
}

// checkPlaces finds tables that do not lie where their catalog does.
func checkPlaces(ctx context.Context, config Config, cat *catalogs.Catalog) error {
	ids, err := tableIDs(ctx, cat)
	if err != nil {
		return err
	}
	for _, id := range ids {
		_, err := lake.Attach(ctx, cat, id, lake.Options{Warehouse: config.ownWarehouse()})
		if e := (*protocol.Error)(nil); errors.As(err, &e) && e.Kind == protocol.ConfigError {
			return err
		}
		if !errors.Is(err, fs.ErrNotExist) || config.ownWarehouse() == "" {
			continue // what else is wrong with a table is for the sync that needs it to say
		}
		at, locationErr := cat.MetadataLocation(ctx, id)
		if locationErr != nil {
			return locationErr
		}
		if !filenames.Within(filenames.Real(at), filenames.Real(config.Warehouse)) {
			return tabledef.ExplainLoss(id, err)
		}
	}
	return nil
}

func checkTable(ctx context.Context, config Config, cat *catalogs.Catalog) (err error) {
	p := probe{cat: cat, warehouse: config.Warehouse, name: "airbyte_check_" + strings.ReplaceAll(uuid.NewString(), "-", "")}
	if p.plan, err = config.plan(p.stream()); err != nil {
		return err
	}
	namespace := p.plan.Identifier()[:len(p.plan.Identifier())-1]
	if p.namespaceThere, err = cat.CheckNamespaceExists(ctx, namespace); err != nil {
		return probeError("looking for the namespace", err)
	}
	defer func() {
		// What was made goes in any case, also when the check was interrupted.
		if removeErr := p.remove(context.WithoutCancel(ctx)); removeErr != nil {
			err = errors.Join(err, probeError("removing the probe table", removeErr))
		}
	}()
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"making a table", p.create},
		{"writing a row", p.write},
		{"reading the row back", p.read},
	} {
		if err := step.run(ctx); err != nil {
			return probeError(step.name, err)
		}
	}
	return nil
}

func probeError(step string, err error) error {
	var known *protocol.Error
	if errors.As(err, &known) {
		return err
	}
	return &protocol.Error{Kind: protocol.TransientError, Message: fmt.Sprintf(
		"The check failed while %s: %v. Make the warehouse writable for this program's user (uid %d) and see that its disk has room.", step, err, os.Getuid()), Err: err}
}

type probe struct {
	cat            *catalogs.Catalog
	warehouse      string
	name           string
	plan           *columnar.Plan
	table          *lake.Table
	namespaceThere bool // before the check
}

func (p *probe) stream() protocol.ConfiguredStream {
	return protocol.ConfiguredStream{
		Stream: protocol.Stream{
			Name:       p.name,
			JSONSchema: json.RawMessage(`{"type":"object","properties":{"at":{"type":"string","format":"date-time"}}}`),
		},
		DestinationSyncMode: protocol.Append,
	}
}

func (p *probe) create(ctx context.Context) (err error) {
	p.table, err = lake.Open(ctx, p.cat, p.plan, lake.Options{})
	return err
}

func (p *probe) write(ctx context.Context) error {
	batch := columnar.NewBatch(p.table.Layout(), columnar.RowMeta{})
	now := time.Now().UTC()
	line := fmt.Sprintf(`{"type":"RECORD","record":{"stream":%q,"emitted_at":%d,"data":{"at":%q}}}`+"\n", p.name, now.UnixMilli(), now.Format(time.RFC3339))
	var decoder columnar.Decoder
	if err := decoder.Decode([]byte(line), 1, 1, func(_, _ []byte) (*columnar.Batch, error) { return batch, nil }); err != nil {
		return err
	}
	w := p.table.NewWriter()
	staged, err := w.Close(ctx, batch.Record(), nil, 1)
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	return p.table.Commit(ctx, []*lake.Staged{staged}, nil)
}

func (p *probe) read(ctx context.Context) error {
	loaded, err := p.cat.LoadTable(ctx, p.plan.Identifier())
	if err != nil {
		return err
	}
	rows := 0
	for _, err := range lake.Rows(ctx, loaded, 0) {
		if err != nil {
			return err
		}
		rows++
	}
	if rows != 1 {
		return fmt.Errorf("1 row was written and %d are there", rows)
	}
	return nil
}

// remove removes what there is of the probe, whichever step it came to: the
// table, its files, and a namespace that was made for it.
func (p *probe) remove(ctx context.Context) error {
	id := p.plan.Identifier()
	namespace := id[:len(id)-1]
	// Where the catalog puts a table, for when it has none but its first file.
	location := fmt.Sprintf("%s/%s.db/%s", p.warehouse, strings.Join(namespace, "."), p.plan.Table)
	loaded, err := p.cat.LoadTable(ctx, id)
	switch {
	case errors.Is(err, catalog.ErrNoSuchTable), errors.Is(err, catalog.ErrNoSuchNamespace):
	case err != nil:
		return err
	default:
		location = loaded.Location()
		if err := p.cat.DropTable(ctx, id); err != nil {
			return err
		}
	}
	files := p.cat.Storage()
	if err := files.RemoveTree(location); err != nil {
		return err
	}
	if p.namespaceThere {
		return nil
	}
	// The namespace's directory, if nothing else is in it.
	_ = files.Files().Remove(location[:strings.LastIndex(location, "/")])
	err = p.cat.DropNamespace(ctx, namespace)
	if errors.Is(err, catalog.ErrNoSuchNamespace) || errors.Is(err, catalog.ErrNamespaceNotEmpty) {
		return nil // the check did not come so far, or another program has a table there by now
	}
	return err
}
