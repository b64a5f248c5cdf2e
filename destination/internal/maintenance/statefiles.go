package maintenance

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/apache/iceberg-go/catalog"
	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
)

// StateFiles finds the state files that tables need, so that the others can be
// removed.
func StateFiles(cat catalog.Catalog) checkpoint.References {
	return checkpoint.References{
		Catalog: func(ctx context.Context) (map[string]bool, error) {
			referenced := map[string]bool{}
			ids, err := catalogs.TableIDs(ctx, cat)
			if err != nil {
				return nil, err
			}
			for _, id := range ids {
				tbl, err := cat.LoadTable(ctx, id)
				if errors.Is(err, catalog.ErrNoSuchTable) {
					continue
				}
				if err != nil {
					return nil, fmt.Errorf("loading table %s: %w", strings.Join(id, "."), err)
				}
				for _, raw := range lake.States(tbl.Metadata()) {
					addStateFiles(referenced, raw)
				}
			}
			return referenced, nil
		},
		Directory: stateFilesIn,
	}
}

// stateFileName matches the name of a state file in the text of metadata.
var stateFileName = regexp.MustCompile(`[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}` + filenames.Mark + `\.json`)

func addStateFiles(referenced map[string]bool, text []byte) {
	for _, name := range stateFileName.FindAll(text, -1) {
		referenced[string(name)] = true
	}
}

// stateFilesIn looks for names in the text of metadata files, which may be of any
// format version and of any table.
func stateFilesIn(ctx context.Context, files iceio.ListableIO, dir string) (map[string]bool, error) {
	referenced := map[string]bool{}
	found, err := storage.List(ctx, files, dir)
	if err != nil {
		return nil, err
	}
	for _, f := range found {
		if !tabledef.IsMetadata(f.Path) {
			continue
		}
		text, err := snapshots.ReadMetadata(files, f.Path)
		switch {
		case errors.Is(err, fs.ErrNotExist): // removed after it was listed
			continue
		case err == nil && snapshots.IsZstd(text):
			err = errors.New("it is compressed with zstd")
		}
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", f.Path, err)
		}
		addStateFiles(referenced, text)
	}
	return referenced, nil
}
