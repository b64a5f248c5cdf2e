package cli_test

import (
	"context"
	"encoding/json"
	"errors"
	"io"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

type config struct {
	Password string      `json:"password" jsonschema:"required" jsonschema_extras:"airbyte_secret=true"`
	Pages    int         `json:"pages"`
	Tags     []string    `json:"tags"`
	Auth     *authConfig `json:"auth"`
}

type authConfig struct {
	Token string `json:"token" jsonschema_extras:"airbyte_secret=true"`
}

func testSpec() protocol.Spec {
	return protocol.Spec{ConnectionSpecification: spec.Reflect(&config{}, "Test")}
}

// source is a Source made of functions.
type source struct {
	check    func(context.Context, json.RawMessage, *protocol.Emitter) error
	discover func(context.Context, json.RawMessage, *protocol.Emitter) (protocol.Catalog, error)
	read     func(context.Context, protocol.ReadJob, *protocol.Emitter) error
}

func (source) Spec() protocol.Spec { return testSpec() }

func (s source) Check(ctx context.Context, c json.RawMessage, out *protocol.Emitter) error {
	return s.check(ctx, c, out)
}

func (s source) Discover(ctx context.Context, c json.RawMessage, out *protocol.Emitter) (protocol.Catalog, error) {
	return s.discover(ctx, c, out)
}

func (s source) Read(ctx context.Context, job protocol.ReadJob, out *protocol.Emitter) error {
	return s.read(ctx, job, out)
}

// destination is a Destination that repeats each state when it has counted the
// records before it.
type destination struct{}

func (destination) Spec() protocol.Spec { return testSpec() }

func (destination) Check(context.Context, json.RawMessage, *protocol.Emitter) error { return nil }

func (destination) Write(_ context.Context, job protocol.WriteJob, out *protocol.Emitter) error {
	in := protocol.NewInput(job.Input, out.Logger())
	var records int64
	for {
		item, err := in.Next()
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case item.Records != nil:
			records += item.Records.Count
			item.Records.Release()
		case item.State != nil:
			if err := out.Echo(*item.State, records, 0); err != nil {
				return err
			}
			records = 0
		}
	}
}

var stream = protocol.StreamID{Name: "s"}

// sync reads one stream of two records.
func sync(_ context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
	for _, err := range []error{
		out.Status(stream, protocol.Started),
		out.Record(stream, json.RawMessage(`{"a":1}`)), out.Record(stream, json.RawMessage(`{"a":2}`)),
		out.State(protocol.NewStreamState(stream, json.RawMessage(`{"c":2}`))),
		out.Status(stream, protocol.Complete),
	} {
		if err != nil {
			return err
		}
	}
	return nil
}

func started(then func(out *protocol.Emitter) error) func(context.Context, protocol.ReadJob, *protocol.Emitter) error {
	return func(_ context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
		if err := out.Status(stream, protocol.Started); err != nil {
			return err
		}
		return then(out)
	}
}
