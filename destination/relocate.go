package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"path"
	"strings"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/catalogs"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/relocation"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

var relocateCommand = cli.Command{
	Name:    "relocate",
	Summary: "makes the tables of a moved or copied warehouse usable",
	Details: "The metadata of a table names its files by their full paths. This writes new metadata with the " +
		"paths in the configuration's warehouse.",
	Examples: []string{
		"relocate --config destination.json --dry-run",
		"relocate --config destination.json --from /local/lake",
		"relocate --config destination.json --from s3://bucket/lake",
	},
	Config: true,
	New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
		from := flags.String("from", "", "the `DIRECTORY` where the warehouse was, to include tables of other programs; by default the place that each of this program's tables records")
		dryRun := flags.Bool("dry-run", false, "change nothing; print what would be done")
		return func(ctx context.Context, env cli.Env) error {
			config, err := parseConfig(env.Config)
			if err != nil {
				return err
			}
			if *from == "" && config.ownWarehouse() == "" {
				return protocol.ConfigError.Errorf(nil, "The catalog is outside the warehouse, so its tables may be in several places. Name the directory to relocate from with --from DIRECTORY.")
			}
			if place := filenames.Plain(*from); *from != "" && !path.IsAbs(place) && !strings.HasPrefix(place, "s3://") {
				return protocol.ConfigError.Errorf(nil, "The directory after --from is %q. It must be absolute, as in /local/lake, or in an object store, as in s3://bucket/lake.", *from)
			}
			cat, err := config.openExisting(ctx)
			if err != nil {
				return err
			}
			defer cat.Close()
			if !cat.PointsToMetadata() {
				return protocol.ConfigError.Errorf(nil, "A REST catalog does not let its clients say where the metadata of a table is. Move the tables by the means of its server; relocate works with the types sqlite, postgres and glue.")
			}
			return relocator{cat: cat, files: cat.Storage().Files(), from: *from, to: config.Warehouse, dryRun: *dryRun}.all(ctx, env)
		}
	},
}

// relocator makes the tables of a catalog refer to their files in a warehouse.
type relocator struct {
	cat    *catalogs.Catalog
	files  iceio.WriteFileIO
	from   string // "": where the tables say
	to     string
	dryRun bool
}

// all relocates the tables one by one, also if some fail.
func (r relocator) all(ctx context.Context, env cli.Env) error {
	ids, err := catalogs.TableIDs(ctx, r.cat)
	if err != nil {
		return err
	}
	failed := 0
	for _, id := range ids {
		did, err := r.table(ctx, id)
		if err != nil {
			did = "failed: " + explainTable(id, err)
			failed++
		}
		if _, err := fmt.Fprintf(env.Stdout, "%s: %s\n", terminal.Text(strings.Join(id, ".")), terminal.Text(did)); err != nil {
			return err
		}
		if ctx.Err() != nil {
			return ctx.Err()
		}
	}
	return failedTables(failed)
}

// table relocates a table, and returns what it did.
func (r relocator) table(ctx context.Context, id table.Identifier) (did string, err error) {
	defer goroutine.Recover(&err)
	before, err := r.cat.MetadataLocation(ctx, id)
	if err != nil {
		return "", err
	}
	if filenames.Within(filenames.ResolveLinks(before), filenames.ResolveLinks(r.to)) {
		return "is already in the warehouse", nil
	}
	from := filenames.Plain(r.from)
	if r.from == "" {
		if from, err = formerWarehouse(id, before); err != nil {
			return "", err
		}
	}
	move := relocation.NewMove(from, r.to)
	if !move.Concerns(before) {
		return fmt.Sprintf("stays at %s, outside %s", before, from), nil
	}
	defer func() {
		if errors.Is(err, fs.ErrNotExist) {
			err = protocol.ConfigError.Errorf(nil, "A file of the table was not copied: %v. Copy the whole warehouse to %s, then run relocate again.", err, r.to)
		}
	}()
	loaded, err := move.Load(ctx, r.files, id, before)
	if err != nil {
		return "", err
	}
	if _, isOwn, err := tabledef.Owner(loaded); err != nil || !isOwn && r.from == "" {
		return "was not relocated: another program created it. If its files were copied, too, name their old directory with --from", err
	}
	if r.dryRun {
		return fmt.Sprintf("would be relocated %s", move), nil
	}
	after, err := move.Table(ctx, r.files, loaded)
	if err != nil {
		return "", err
	}
	if err := r.cat.SetMetadataLocation(ctx, before, after); err != nil {
		return "", err
	}
	did = fmt.Sprintf("was relocated %s", move)
	if err := snapshots.WriteVersionHint(r.files, after.Location(), after.MetadataLocation()); err != nil {
		did += fmt.Sprintf("; metadata/version-hint.text could not be written, which the next commit does: %v", err)
	}
	return did, nil
}

// formerWarehouse returns the warehouse in which this program created a table.
func formerWarehouse(id table.Identifier, metadata string) (string, error) {
	namespace, name := id[:len(id)-1], id[len(id)-1]
	tail := fmt.Sprintf("/%s.db/%s/metadata", strings.Join(namespace, "."), name)
	dir, ok := strings.CutSuffix(path.Dir(filenames.Plain(metadata)), tail)
	if !ok {
		return "", protocol.ConfigError.Errorf(nil, "The metadata of table %s is at %s, which does not show where its warehouse was. Name that directory with --from.", strings.Join(id, "."), metadata)
	}
	return dir, nil
}
