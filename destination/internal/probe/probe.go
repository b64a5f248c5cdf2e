// Package probe does once, on a table of its own, all that a sync does: it creates the
// table, writes a row, reads it back, and removes what it created.
package probe

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/google/uuid"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/inspect"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Stream returns the stream of a new probe table, whose name no other stream has.
func Stream() protocol.ConfiguredStream {
	return protocol.ConfiguredStream{
		Stream: protocol.Stream{
			Name:       "airbyte_check_" + strings.ReplaceAll(uuid.NewString(), "-", ""),
			JSONSchema: json.RawMessage(`{"type":"object","properties":{"at":{"type":"string","format":"date-time"}}}`),
		},
		DestinationSyncMode: protocol.Append,
	}
}

// Run probes the warehouse with the plan of a [Stream]. show, unless it is nil, then
// shows the table to an engine that is told of commits, and removes it there. The
// error names the step that failed.
func Run(ctx context.Context, cat *catalogs.Catalog, warehouse string, plan *columnar.Plan, show func(context.Context, *table.Table) error) (err error) {
	p := probe{cat: cat, warehouse: warehouse, plan: plan}
	namespace := plan.Identifier()[:len(plan.Identifier())-1]
	if p.namespaceExisted, err = cat.CheckNamespaceExists(ctx, namespace); err != nil {
		return failure("looking for the namespace", err)
	}
	defer func() {
		// What was created is removed in any case, also when the run was interrupted.
		if removeErr := p.remove(context.WithoutCancel(ctx)); removeErr != nil {
			err = errors.Join(err, failure("removing the probe table", removeErr))
		}
	}()
	for _, step := range []struct {
		name string
		run  func(context.Context) error
	}{
		{"creating a table", p.create},
		{"writing a row", p.write},
		{"reading the row back", p.read},
		{"showing the table", func(ctx context.Context) error {
			if show == nil {
				return nil
			}
			loaded, err := cat.LoadTable(ctx, plan.Identifier())
			if err != nil {
				return err
			}
			return show(ctx, loaded)
		}},
	} {
		if err := step.run(ctx); err != nil {
			return failure(step.name, err)
		}
	}
	return nil
}

func failure(step string, err error) error {
	var known *protocol.Error
	if errors.As(err, &known) {
		return err
	}
	if e := storage.Explain(err, "the probe table"); e != nil {
		e.Message = fmt.Sprintf("The check failed while %s. %s", step, e.Message)
		return e
	}
	return protocol.TransientError.Errorf(err, "The check failed while %s: %v. Make sure that the warehouse can be written and has room.", step, err)
}

type probe struct {
	cat              *catalogs.Catalog
	warehouse        string
	plan             *columnar.Plan
	table            *lake.Table
	namespaceExisted bool // before the probe
}

func (p *probe) create(ctx context.Context) (err error) {
	p.table, err = lake.Open(ctx, p.cat, p.plan, lake.Options{})
	return err
}

func (p *probe) write(ctx context.Context) error {
	batch := columnar.NewBatch(p.table.Layout(), columnar.RowMeta{})
	now := time.Now().UTC()
	line := fmt.Sprintf(`{"type":"RECORD","record":{"stream":%q,"emitted_at":%d,"data":{"at":%q}}}`+"\n", p.plan.Stream.Name, now.UnixMilli(), now.Format(time.RFC3339))
	var decoder columnar.Decoder
	if err := decoder.Decode([]byte(line), 1, 1, func(_, _ []byte) (*columnar.Batch, error) { return batch, nil }); err != nil {
		return err
	}
	w := p.table.NewWriter()
	staged, err := w.Close(ctx, batch.Record(), nil, 1)
	if err != nil {
		return errors.Join(err, w.Abort())
	}
	_, err = p.table.Commit(ctx, []*lake.Staged{staged}, nil)
	return err
}

func (p *probe) read(ctx context.Context) error {
	loaded, err := p.cat.LoadTable(ctx, p.plan.Identifier())
	if err != nil {
		return err
	}
	rows := 0
	for _, err := range inspect.Rows(ctx, loaded, 0) {
		if err != nil {
			return err
		}
		rows++
	}
	if rows != 1 {
		return fmt.Errorf("1 row was written, and %d can be read", rows)
	}
	return nil
}

// remove removes what exists of the probe: the table, its files, and the namespace
// if it was created for the probe.
func (p *probe) remove(ctx context.Context) error {
	id := p.plan.Identifier()
	namespace := id[:len(id)-1]
	// Where the catalog puts a table. It may have written a file before it failed.
	location := fmt.Sprintf("%s/%s.db/%s", p.warehouse, strings.Join(namespace, "."), p.plan.Table)
	var files iceio.IO
	if all := p.cat.Storage().Files(); all != nil {
		files = all
	}
	loaded, err := p.cat.LoadTable(ctx, id)
	switch {
	case errors.Is(err, catalog.ErrNoSuchTable), errors.Is(err, catalog.ErrNoSuchNamespace):
	case err != nil:
		return err
	default:
		location = loaded.Location()
		if files, err = loaded.FS(ctx); err != nil {
			return err
		}
		if err := p.cat.DropTable(ctx, id); err != nil {
			return err
		}
	}
	if files != nil {
		if err := storage.RemoveTree(files, location); err != nil {
			return err
		}
	}
	if p.namespaceExisted {
		return nil
	}
	if p.cat.Storage().Directory() != "" { // the directory of the namespace is removed if it is empty
		_ = files.Remove(location[:strings.LastIndex(location, "/")])
	}
	err = p.cat.DropNamespace(ctx, namespace)
	if errors.Is(err, catalog.ErrNoSuchNamespace) || errors.Is(err, catalog.ErrNamespaceNotEmpty) {
		return nil // it was not created, or another program has a table in it by now
	}
	return err
}
