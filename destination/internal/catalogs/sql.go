package catalogs

import (
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/catalog"
	sqlcat "github.com/apache/iceberg-go/catalog/sql"
	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/klauspost/compress/zstd"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
)

// sqlCatalog is the library's catalog, but for metadata files: the library leaves that
// of a commit that another one was quicker than, and removes that of a new table whose
// row may be there.
type sqlCatalog struct {
	*sqlcat.Catalog
	db          *sql.DB
	properties  iceberg.Properties // the library's, which find the warehouse and its files
	placeholder func(n int) string // of the n-th argument of a statement, from 1
	classify    func(error) error
	known       *tableCache // of the [Catalog] that asks this one
}

// Close releases the catalog's connections.
func (c sqlCatalog) Close() error { return errors.Join(c.Catalog.Close(), c.db.Close()) }

func questionMark(int) string { return "?" }

func dollar(n int) string { return "$" + strconv.Itoa(n) }

// row is the condition for a table's row; its arguments are the n-th and the two
// after it.
func (c sqlCatalog) row(id table.Identifier, n int) (where string, args []any) {
	for i, column := range []string{"catalog_name", "table_namespace", "table_name"} {
		if i > 0 {
			where += " AND "
		}
		where += column + " = " + c.placeholder(n+i)
	}
	namespace := strings.Join(catalog.NamespaceFromIdent(id), ".")
	return where, []any{catalogName, namespace, catalog.TableNameFromIdent(id)}
}

// rowNaming is the condition for a table's row as long as the catalog names the
// metadata file; its arguments are the n-th and the three after it.
func (c sqlCatalog) rowNaming(id table.Identifier, location string, n int) (where string, args []any) {
	where, args = c.row(id, n)
	return where + " AND metadata_location = " + c.placeholder(n+len(args)), append(args, location)
}

// IsCurrent reports whether the metadata file of a table is still the one that
// the catalog has for it.
func (c sqlCatalog) IsCurrent(ctx context.Context, t *table.Table) (current bool, err error) {
	where, args := c.rowNaming(t.Identifier(), t.MetadataLocation(), 1)
	if err := c.db.QueryRowContext(ctx, "SELECT count(*) > 0 FROM iceberg_tables WHERE "+where, args...).Scan(&current); err != nil {
		return false, fmt.Errorf("asking for the metadata of table %s: %w", strings.Join(t.Identifier(), "."), err)
	}
	return current, nil
}

// CommitTable applies updates to a table. After an error that is
// [table.ErrCommitFailed] or [storage.ErrNotCommitted] there is nothing of the
// commit.
func (c sqlCatalog) CommitTable(ctx context.Context, id table.Identifier, reqs []table.Requirement, updates []table.Update) (table.Metadata, string, error) {
	base, err := c.base(ctx, id)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", table.ErrCommitFailed, err)
	}
	for _, r := range reqs {
		if err := r.Validate(base.Metadata()); err != nil {
			return nil, "", fmt.Errorf("%w: %w", table.ErrCommitFailed, err)
		}
	}
	meta, err := table.UpdateTableMetadata(base.Metadata(), updates, base.MetadataLocation())
	if err != nil {
		answer := storage.ErrNotCommitted
		if slices.ContainsFunc(updates, func(u table.Update) bool { return u.Action() == table.UpdateAddSnapshot }) {
			answer = table.ErrCommitFailed // a commit to another branch has taken the snapshot's sequence number
		}
		return nil, "", fmt.Errorf("%w: %w", answer, err)
	}
	if err := checkRefs(base.Metadata(), updates, meta); err != nil {
		return nil, "", err
	}
	if meta.Equals(base.Metadata()) {
		return base.Metadata(), base.MetadataLocation(), nil
	}
	files, location, err := writeNext(ctx, base, meta)
	if err != nil {
		return nil, "", fmt.Errorf("%w: %w", storage.ErrNotCommitted, err)
	}
	if err := c.replace(ctx, id, base.MetadataLocation(), location); err != nil {
		if errors.Is(err, table.ErrCommitFailed) {
			err = errors.Join(err, files.Remove(location))
		}
		return nil, "", err
	}
	return meta, location, nil
}

// ListNamespaces lists all namespaces at the top, as the library does, and so none in another one.
func (c sqlCatalog) ListNamespaces(ctx context.Context, parent table.Identifier) ([]table.Identifier, error) {
	if len(parent) > 0 {
		return nil, nil
	}
	return c.Catalog.ListNamespaces(ctx, nil)
}

// base is the table as it is before a commit. Its metadata file is read only if nobody has yet.
func (c sqlCatalog) base(ctx context.Context, id table.Identifier) (*table.Table, error) {
	if known := c.known.get(id); known != nil {
		if current, err := c.IsCurrent(ctx, known); err != nil || current {
			return known, err
		}
	}
	return c.LoadTable(ctx, id)
}

// checkRefs refuses to remove a snapshot that a branch or a tag names: whoever chose
// the snapshot saw the table before the ref was set. The library would remove the
// ref, too.
func checkRefs(base table.Metadata, updates []table.Update, after table.Metadata) error {
	rest := slices.DeleteFunc(slices.Clone(updates), func(u table.Update) bool { return u.Action() == table.UpdateRemoveSnapshots })
	if len(rest) == len(updates) {
		return nil
	}
	meta, err := table.UpdateTableMetadata(base, rest, "")
	if err != nil {
		return fmt.Errorf("%w: %w", storage.ErrNotCommitted, err)
	}
	for name, ref := range meta.Refs() {
		if after.SnapshotByID(ref.SnapshotID) == nil {
			return fmt.Errorf("%w: %s names snapshot %d, which was to be removed", table.ErrCommitFailed, name, ref.SnapshotID)
		}
	}
	return nil
}

// replace has the catalog name another metadata file, if it still names the one
// before. After an error that is not [table.ErrCommitFailed] it may.
func (c sqlCatalog) replace(ctx context.Context, id table.Identifier, before, after string) error {
	where, args := c.rowNaming(id, before, 3)
	result, err := c.db.ExecContext(ctx, "UPDATE iceberg_tables SET metadata_location = "+c.placeholder(1)+", previous_metadata_location = "+c.placeholder(2)+" WHERE "+where,
		append([]any{after, before}, args...)...)
	if err != nil {
		return c.classify(err)
	}
	switch changed, err := result.RowsAffected(); {
	case err != nil:
		return c.classify(err)
	case changed == 0:
		return fmt.Errorf("%w: another commit was quicker", table.ErrCommitFailed)
	}
	return nil
}

// metadataLocation is as [metadataPointer] says.
func (c sqlCatalog) metadataLocation(ctx context.Context, id table.Identifier) (location string, err error) {
	where, args := c.row(id, 1)
	err = c.db.QueryRowContext(ctx, "SELECT metadata_location FROM iceberg_tables WHERE "+where, args...).Scan(&location)
	return location, err
}

// setMetadataLocation is as [metadataPointer] says.
func (c sqlCatalog) setMetadataLocation(ctx context.Context, id table.Identifier, before string, after *table.Table) error {
	return c.replace(ctx, id, before, after.MetadataLocation())
}

// nextMetadataLocation names the metadata file after one, in the library's way.
func nextMetadataLocation(last string, meta table.Metadata) (string, error) {
	number, _, _ := strings.Cut(path.Base(last), "-")
	version, err := strconv.Atoi(strings.TrimPrefix(number, "v"))
	if err != nil {
		version = 0 // another program's name, which says nothing
	}
	provider, err := table.LoadLocationProvider(meta.Location(), meta.Properties())
	if err != nil {
		return "", err
	}
	return provider.NewTableMetadataFileLocation(version + 1)
}

// writeNext writes the metadata file after that of base, and leaves nothing when
// it fails.
func writeNext(ctx context.Context, base *table.Table, meta table.Metadata) (iceio.IO, string, error) {
	location, err := nextMetadataLocation(base.MetadataLocation(), meta)
	if err != nil {
		return nil, "", err
	}
	files, err := writeMetadata(ctx, base.FS, location, meta)
	if err != nil {
		return nil, "", err
	}
	return files, location, nil
}

// writeMetadata writes a new metadata file, and leaves nothing when it fails.
func writeMetadata(ctx context.Context, reach table.FSysF, location string, meta table.Metadata) (iceio.IO, error) {
	fs, err := reach(ctx)
	if err != nil {
		return nil, err
	}
	files, ok := fs.(iceio.WriteFileIO)
	if !ok {
		return nil, fmt.Errorf("writing %s: its storage cannot be written", location)
	}
	out, err := files.Create(location)
	if err == nil {
		err = storage.Complete(files, location, out, encodeMetadata(out, meta))
	}
	if err != nil {
		_ = files.Remove(location) // what there is of it
		return nil, err
	}
	return files, nil
}

func encodeMetadata(out io.Writer, meta table.Metadata) error {
	codec := meta.Properties().Get(table.MetadataCompressionKey, table.MetadataCompressionDefault)
	var w io.WriteCloser
	switch codec {
	case table.MetadataCompressionCodecGzip:
		w = gzip.NewWriter(out)
	case table.MetadataCompressionCodecZstd:
		z, err := zstd.NewWriter(out)
		if err != nil {
			return err
		}
		w = z
	default:
		return json.NewEncoder(out).Encode(meta)
	}
	return errors.Join(json.NewEncoder(w).Encode(meta), w.Close())
}
