package lake

import (
	"errors"

	"github.com/apache/iceberg-go/catalog"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/parquetfile"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/tabledef"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Explain finds the remedy for an error of the storage or the catalog; an error that carries
// one already, or for which there is none, is returned as it is.
func (t *Table) Explain(err error) error {
	var userError *protocol.Error
	if err == nil || errors.As(err, &userError) {
		return err
	}
	var other parquetfile.NotParquetError
	var foreign parquetfile.ForeignError
	switch {
	case errors.As(err, &other):
		return t.errorf(protocol.ConfigError, err, "Table %s has a file that is not Parquet, %s. Rewrite the table with the program that made it.", t, string(other))
	case errors.As(err, &foreign):
		return t.errorf(protocol.ConfigError, err, "A file of table %s, %s, has %s. Rewrite it with the program that added it, as with Spark's rewrite_data_files.", t, foreign.Path, foreign.Has)
	case errors.Is(err, catalog.ErrNoSuchTable):
		return t.errorf(protocol.TransientError, err, "Table %s was dropped or renamed by another program during this sync. Start the sync again.", t)
	}
	if e := storage.Explain(err, "table "+t.String()); e != nil {
		e.Stream = &t.plan.Stream
		return e
	}
	if err = tabledef.ExplainLoss(t.id, err); errors.As(err, &userError) {
		userError.Stream = &t.plan.Stream
	}
	return err
}
