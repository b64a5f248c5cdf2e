package protocol

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/internal/jsonerrors"
)

// StreamID identifies a stream. An absent, null or empty namespace means the
// destination's default.
type StreamID struct {
	Namespace string
	Name      string
}

func (s StreamID) String() string {
	if s.Namespace == "" {
		return s.Name
	}
	return s.Namespace + "." + s.Name
}

// A SyncMode is how a source reads a stream.
type SyncMode string

const (
	FullRefresh SyncMode = "full_refresh"
	Incremental SyncMode = "incremental"
)

// A DestinationSyncMode is how a destination stores a stream.
type DestinationSyncMode string

const (
	Append      DestinationSyncMode = "append"
	Overwrite   DestinationSyncMode = "overwrite"
	AppendDedup DestinationSyncMode = "append_dedup"
)

// Stream is a stream as a source offers it. JSONSchema is draft-07 with
// Airbyte's types; keys and cursors are paths of property names.
type Stream struct {
	Name                    string          `json:"name"`
	Namespace               string          `json:"namespace,omitempty"`
	JSONSchema              json.RawMessage `json:"json_schema"`
	SupportedSyncModes      []SyncMode      `json:"supported_sync_modes"`
	SourceDefinedCursor     bool            `json:"source_defined_cursor,omitempty"`
	DefaultCursorField      []string        `json:"default_cursor_field,omitempty"`
	SourceDefinedPrimaryKey [][]string      `json:"source_defined_primary_key,omitempty"`
	IsResumable             bool            `json:"is_resumable,omitempty"`
}

// ID returns the stream's identity.
func (s Stream) ID() StreamID { return StreamID{s.Namespace, s.Name} }

// Catalog lists the streams of a source.
type Catalog struct {
	Streams []Stream `json:"streams"`
}

// ConfiguredStream is a stream the user chose, with the way to read and keep
// it. The three ids are nil if the orchestrator does not support refreshes.
type ConfiguredStream struct {
	Stream              Stream              `json:"stream"`
	SyncMode            SyncMode            `json:"sync_mode"`
	DestinationSyncMode DestinationSyncMode `json:"destination_sync_mode"`
	CursorField         []string            `json:"cursor_field"`
	PrimaryKey          [][]string          `json:"primary_key"`
	GenerationID        *int64              `json:"generation_id"`
	MinimumGenerationID *int64              `json:"minimum_generation_id"`
	SyncID              *int64              `json:"sync_id"`
}

// ID returns the stream's identity.
func (s ConfiguredStream) ID() StreamID { return s.Stream.ID() }

// Key returns the primary key in force: the source's own, else the user's.
func (s ConfiguredStream) Key() [][]string {
	if len(s.Stream.SourceDefinedPrimaryKey) > 0 {
		return s.Stream.SourceDefinedPrimaryKey
	}
	return s.PrimaryKey
}

// Cursor returns the path of the field that orders versions of a record, or
// nil: the source's own, else the user's, else the default.
func (s ConfiguredStream) Cursor() []string {
	if s.Stream.SourceDefinedCursor && len(s.Stream.DefaultCursorField) > 0 {
		return s.Stream.DefaultCursorField
	}
	if len(s.CursorField) > 0 {
		return s.CursorField
	}
	return s.Stream.DefaultCursorField
}

// ConfiguredCatalog lists the streams that the user chose.
type ConfiguredCatalog struct {
	Streams []ConfiguredStream `json:"streams"`
}

// configuredCatalog ends the messages about an invalid catalog.
const configuredCatalog = `A configured catalog is {"streams":[{"stream":{"name":…,"json_schema":…},"sync_mode":…,"destination_sync_mode":…,"primary_key":[["id"]],"cursor_field":["updated_at"]}]}; ` +
	"the streams that discover prints must be wrapped so."

// ParseConfiguredCatalog reads the file given with --catalog. Its error is a
// [ConfigError]. It does not check sync modes: a connector knows its own.
func ParseConfiguredCatalog(data []byte) (ConfiguredCatalog, error) {
	var c ConfiguredCatalog
	var wrongType *json.UnmarshalTypeError
	switch err := json.Unmarshal(data, &c); {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return c, &Error{Kind: ConfigError, Message: fmt.Sprintf("The configured catalog's %q is of type %s but must be of type %s. "+configuredCatalog,
			wrongType.Field, jsonerrors.GivenType(wrongType), jsonerrors.WantedType(wrongType))}
	case err != nil:
		return c, &Error{Kind: ConfigError, Message: fmt.Sprintf("The configured catalog cannot be read: %s. "+configuredCatalog, jsonerrors.Reason(err))}
	}
	if c.Streams == nil { // as in the CATALOG message that discover prints
		return c, &Error{Kind: ConfigError, Message: "The configured catalog has no list of streams. " + configuredCatalog}
	}
	seen := map[StreamID]bool{}
	for i, s := range c.Streams {
		switch {
		case s.Stream.Name == "":
			return c, &Error{Kind: ConfigError, Message: fmt.Sprintf(
				"The configured catalog's stream number %d has no name. "+configuredCatalog, i+1)}
		case seen[s.ID()]:
			return c, &Error{Kind: ConfigError, Message: fmt.Sprintf("The configured catalog names stream %q twice.", s.ID())}
		}
		seen[s.ID()] = true
	}
	return c, nil
}

// PathString formats a property path for messages.
func PathString(path []string) string { return strings.Join(path, ".") }
