package cli_test

import (
	"context"
	"encoding/json"
	"os"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// Greeter is a source of one record.
type Greeter struct{}

type greeterConfig struct {
	Name string `json:"name" jsonschema:"required,title=Name"`
}

func (Greeter) Spec() protocol.Spec {
	return protocol.Spec{ConnectionSpecification: spec.Reflect(&greeterConfig{}, "Greeter")}
}

func (Greeter) Check(_ context.Context, raw json.RawMessage, _ *protocol.Emitter) error {
	var c greeterConfig
	if err := spec.DecodeConfig(raw, &c); err != nil {
		return err
	}
	if c.Name == "" {
		return &protocol.Error{Kind: protocol.ConfigError, Message: "Give the name of whoever is to be greeted."}
	}
	return nil
}

func (Greeter) Discover(context.Context, json.RawMessage, *protocol.Emitter) (protocol.Catalog, error) {
	return protocol.Catalog{Streams: []protocol.Stream{{
		Name:               "greetings",
		JSONSchema:         json.RawMessage(`{"type":"object","properties":{"text":{"type":["string","null"]}}}`),
		SupportedSyncModes: []protocol.SyncMode{protocol.FullRefresh},
	}}}, nil
}

func (Greeter) Read(_ context.Context, job protocol.ReadJob, out *protocol.Emitter) error {
	for _, s := range job.Catalog.Streams {
		if err := out.Status(s.ID(), protocol.Started); err != nil {
			return err
		}
		if err := out.Record(s.ID(), json.RawMessage(`{"text":"hello"}`)); err != nil {
			return err
		}
		if err := out.State(protocol.NewStreamState(s.ID(), json.RawMessage(`{"done":true}`))); err != nil {
			return err
		}
		if err := out.Status(s.ID(), protocol.Complete); err != nil {
			return err
		}
	}
	return nil
}

// A connector's main is one line, cli.Main(run) with a run like this one.
func Example() {
	run := func(ctx context.Context, env cli.Env) int {
		return cli.RunSource(ctx, Greeter{}, env)
	}
	run(context.Background(), cli.Env{Args: []string{"spec"}, Stdout: os.Stdout, Stderr: os.Stderr})
	// Output:
	// {"type":"SPEC","spec":{"connectionSpecification":{"$schema":"http://json-schema.org/draft-07/schema#","properties":{"name":{"type":"string","title":"Name","order":0}},"additionalProperties":true,"type":"object","required":["name"],"title":"Greeter"},"supportsIncremental":false,"protocol_version":"0.18.0"}}
}
