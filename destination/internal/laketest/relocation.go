package laketest

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/columnar"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/relocation"
)

// CopyLake copies a directory as cp -a does, with a catalog of SQLite that is in use.
func CopyLake(t *testing.T, from string) string {
	t.Helper()
	to := filepath.Join(t.TempDir(), "copy")
	if err := os.CopyFS(to, os.DirFS(from)); err != nil {
		t.Fatal(err)
	}
	err := filepath.WalkDir(from, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		return os.Chtimes(strings.Replace(path, from, to, 1), info.ModTime(), info.ModTime())
	})
	if err != nil {
		t.Fatal(err)
	}
	return to
}

// Relocate has a table name the files of a copy, and opens it there.
func Relocate(t *testing.T, from, to string, files iceio.WriteFileIO, p *columnar.Plan, o lake.Options) (*lake.Table, *catalogs.Catalog, error) {
	t.Helper()
	cat := OpenCatalog(t, to)
	id := p.Identifier()
	before, err := cat.MetadataLocation(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	move := relocation.NewMove(from, to)
	loaded, err := move.Load(t.Context(), files, id, before)
	if err != nil {
		return nil, cat, err
	}
	after, err := move.Table(t.Context(), files, loaded)
	if err != nil {
		return nil, cat, err
	}
	if err := cat.SetMetadataLocation(t.Context(), before, after); err != nil {
		return nil, cat, err
	}
	o.Warehouse = "file://" + to
	return OpenTable(t, cat, p, o), cat, nil
}

// FilesBelow is what files there are, with their sizes, but for the catalog's.
func FilesBelow(t *testing.T, dir string) []string {
	t.Helper()
	var all []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() || strings.Contains(path, "catalog.db") {
			return err
		}
		info, err := d.Info()
		all = append(all, fmt.Sprint(path, " ", info.Size()))
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return all
}
