package protocol

import (
	"encoding/json"

	"github.com/invopop/jsonschema"
)

// protocolVersion is that of the Airbyte protocol as this package speaks it.
const protocolVersion = "0.18.0"

// Spec is what a connector says of itself: the JSON Schema of its
// configuration and, for a destination, the sync modes it knows.
type Spec struct {
	DocumentationURL              string                `json:"documentationUrl,omitempty"`
	ChangelogURL                  string                `json:"changelogUrl,omitempty"`
	ConnectionSpecification       *jsonschema.Schema    `json:"connectionSpecification"`
	SupportsIncremental           bool                  `json:"supportsIncremental"`
	SupportedDestinationSyncModes []DestinationSyncMode `json:"supported_destination_sync_modes,omitempty"`
	AdvancedAuth                  json.RawMessage       `json:"advanced_auth,omitempty"`
	ProtocolVersion               string                `json:"protocol_version"` // set by [Emitter.Spec]
}
