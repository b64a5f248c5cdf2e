package lake

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/rowkeys"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

const (
	// scanRows is about how many rows of a data file one goroutine looks through.
	scanRows = 500_000
	// scanBytes is the memory that it takes for that.
	scanBytes = 2 * parquetfile.PieceBytes
)

// keyColumns finds the columns that tell rows apart in a schema of the table.
func keyColumns(t *Table, schema *iceberg.Schema) (rowkeys.FileColumns, error) {
	columns, err := t.keys.FileColumns(schema)
	var missing rowkeys.MissingColumnError
	if errors.As(err, &missing) {
		name, _ := t.schema.FindColumnName(int(missing))
		err = t.errorf(protocol.ConfigError, nil, "Column %q of table %s is gone. It is needed to tell rows apart; add it back, or write the stream to another namespace.", name, t)
	}
	return columns, err
}

// keyFinder looks for staged keys in data files.
type keyFinder struct {
	t        *Table
	base     *table.Table
	resolver *rowkeys.Resolver
	columns  rowkeys.FileColumns
	staged   []rowkeys.Bounds
}

func newKeyFinder(u *upsert, base *table.Table) (*keyFinder, error) {
	columns, err := keyColumns(u.t, base.Schema())
	if err != nil {
		return nil, err
	}
	f := &keyFinder{t: u.t, base: base, resolver: u.resolver, columns: columns}
	for _, s := range u.files {
		f.staged = append(f.staged, columns.BoundsOf(s.data))
	}
	return f, nil
}

// find looks for staged keys in all files of a set that can hold one.
func (f *keyFinder) find(ctx context.Context, set *snapshots.Set) error {
	var candidates []iceberg.DataFile
	for _, file := range set.Files {
		bounds := f.columns.BoundsOf(file.Data)
		if slices.ContainsFunc(f.staged, func(s rowkeys.Bounds) bool { return f.columns.MayShareKeys(s, bounds) }) {
			candidates = append(candidates, file.Data)
		}
	}
	err := f.scan(ctx, candidates)
	if errors.Is(err, rowkeys.ErrManyHits) {
		f.resolver.Spill()
		if err = f.resolver.Begin(ctx); err == nil {
			err = f.scan(ctx, candidates)
		}
	}
	if err != nil {
		return fmt.Errorf("looking for keys in table %s: %w", f.t, errors.Join(err, f.resolver.AbandonScan()))
	}
	return nil
}

// scan looks through the files that no attempt has looked through yet.
func (f *keyFinder) scan(ctx context.Context, files []iceberg.DataFile) error {
	scan, sctx := errgroup.WithContext(ctx)
	scan.SetLimit(runtime.GOMAXPROCS(0))
	var scanned []string
	for _, file := range files {
		if f.resolver.Scanned(file.FilePath()) {
			continue
		}
		scanned = append(scanned, file.FilePath())
		parts := int(max(1, file.Count()/scanRows))
		for part := range parts {
			scan.Go(goroutine.Recovered(func() error { return f.scanPart(sctx, file, part, parts) }))
		}
	}
	if err := scan.Wait(); err != nil {
		return err
	}
	for _, path := range scanned {
		f.resolver.SetScanned(path)
	}
	return nil
}

// scanPart looks through one part of a data file.
func (f *keyFinder) scanPart(ctx context.Context, file iceberg.DataFile, part, parts int) error {
	end, err := f.t.storage.Memory.Begin(ctx, scanBytes)
	if err != nil {
		return err
	}
	defer end()
	r, err := parquetfile.Open(f.t.storage.Files, file, f.base.Metadata(), f.t.storage.Memory)
	if err != nil {
		return err
	}
	defer r.Close()
	return f.resolver.Scan(ctx, r, f.columns, file.FilePath(), part, parts)
}
