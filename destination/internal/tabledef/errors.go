package tabledef

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"strings"

	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// ExplainLoss finds the remedy for an error of a table that has lost a file or
// whose metadata cannot be read; other errors are returned as they are.
func ExplainLoss(id table.Identifier, err error) error {
	name := strings.Join(id, ".")
	known := (*protocol.Error)(nil)
	var syntax *json.SyntaxError
	var kind *json.UnmarshalTypeError
	switch {
	case errors.As(err, &known):
	case errors.Is(err, fs.ErrNotExist):
		return &protocol.Error{Kind: protocol.ConfigError, Err: err, Message: fmt.Sprintf(
			"A file of table %s is missing: %v. Restore it from a copy. If the warehouse was moved, run relocate. To remove the table from the catalog, run drop %[1]s --keep-files.", name, err)}
	case errors.Is(err, table.ErrInvalidMetadata), errors.Is(err, table.ErrInvalidMetadataFormatVersion), errors.As(err, &syntax), errors.As(err, &kind):
		return &protocol.Error{Kind: protocol.ConfigError, Err: err, Message: fmt.Sprintf(
			"The metadata of table %s cannot be read: %v. It is broken or has an unknown format version. Restore it from a copy. To remove the table from the catalog, run drop %[1]s --keep-files.", name, err)}
	}
	return err
}
