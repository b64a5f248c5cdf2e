package main

import (
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// destination implements protocol.Destination; write.go and check.go hold its
// verbs.
type destination struct{}

func (destination) Spec() protocol.Spec {
	return protocol.Spec{
		DocumentationURL:              "https://github.com/ingest-connectors/whoop-iceberg/blob/main/docs/destination.md",
		ConnectionSpecification:       protocol.Reflect(&Config{}, "Apache Iceberg"),
		SupportsIncremental:           true,
		SupportedDestinationSyncModes: []protocol.DestinationSyncMode{protocol.Append, protocol.Overwrite, protocol.AppendDedup},
	}
}
