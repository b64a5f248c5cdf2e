// Package cli is the command line of a connector: it makes a program of a
// [protocol.Source] or [protocol.Destination], with the verbs of the protocol and those
// that the connector adds ([Command]).
//
// It is the only package that touches the process: arguments, environment variables, files
// of the orchestrator, standard streams, signals and exit codes. Errors of a verb of the
// protocol become messages, errors of other verbs text.
package cli

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/internal/progress"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

// Exit codes of a run.
const (
	exitOK    = 0 // also if a check says FAILED
	exitError = 1
	exitUsage = 2 // the arguments are invalid
)

// RunSource runs one verb of a source and returns the exit code: 0 if it succeeded, 1
// if not, 2 for invalid arguments. A verb of the protocol, or an unknown one, that
// fails writes a TRACE with the reason, or writes it to stderr if stdout failed.
func RunSource(ctx context.Context, s protocol.Source, env Env, extra ...Command) int {
	r := &run{program: "source", env: env, spec: s.Spec, extra: extra}
	r.verbs = []verb{
		r.specVerb(),
		r.checkVerb(s.Check),
		{
			name: "discover", flags: []string{"config"},
			summary:  "prints the catalog of the streams that can be read, as one CATALOG message",
			examples: []string{"discover --config source.json"},
			run: func(ctx context.Context) error {
				c, err := s.Discover(ctx, r.config, r.out)
				if err != nil {
					return err
				}
				return r.out.Catalog(c)
			},
		},
		{
			name: "read", flags: []string{"config", "catalog"}, optional: []string{"state"}, progress: true,
			summary: "reads the streams of a configured catalog and prints RECORD, STATE and TRACE messages",
			examples: []string{
				"read --config source.json --catalog catalog.json > messages.jsonl",
				"read --config source.json --catalog catalog.json --state state.json | " + env.neighbour("destination") + " write --config destination.json --catalog catalog.json",
			},
			run: func(ctx context.Context) error {
				catalog, err := ReadConfiguredCatalog(*r.paths["catalog"])
				if err != nil {
					return err
				}
				states, err := r.readStates()
				if err != nil {
					return err
				}
				r.out.Progress().Expect("streams", len(catalog.Streams))
				return s.Read(ctx, protocol.ReadJob{Config: r.config, Catalog: catalog, States: states}, r.out)
			},
		},
	}
	return r.do(ctx)
}

// RunDestination runs one verb of a destination and returns the exit code as
// [RunSource] does.
func RunDestination(ctx context.Context, d protocol.Destination, env Env, extra ...Command) int {
	r := &run{program: "destination", env: env, spec: d.Spec, extra: extra}
	r.verbs = []verb{
		r.specVerb(),
		r.checkVerb(d.Check),
		{
			name: "write", flags: []string{"config", "catalog"}, progress: true, input: true,
			summary: "writes the messages on standard input, and prints each STATE whose records are written",
			examples: []string{
				"write --config destination.json --catalog catalog.json < messages.jsonl",
				"write --config destination.json --catalog catalog.json < messages.jsonl > states.jsonl",
			},
			run: func(ctx context.Context) error {
				catalog, err := ReadConfiguredCatalog(*r.paths["catalog"])
				if err != nil {
					return err
				}
				r.out.Progress().Expect("streams", len(catalog.Streams))
				return d.Write(ctx, protocol.WriteJob{Config: r.config, Catalog: catalog, Input: env.Stdin}, r.out)
			},
		},
	}
	return r.do(ctx)
}

// run is one invocation.
type run struct {
	program string // source or destination
	env     Env
	spec    func() protocol.Spec
	verbs   []verb
	extra   []Command
	stopped <-chan struct{} // closed when the run is told to stop

	paths           map[string]*string // the values of the flags
	debug, progress bool
	code            int

	screen  *terminal.Screen // standard error
	secrets redact.Redactor
	out     *protocol.Emitter
	config  json.RawMessage
}

// newEmitter opens standard output for messages.
func (r *run) newEmitter(shownOn string, level slog.Level, p *progress.Progress) {
	r.out = protocol.NewEmitter(&output{w: r.env.Stdout, stopped: r.stopped}, protocol.EmitterOptions{
		Stderr: r.screen, ShownOn: shownOn, LogLevel: level, Progress: p, Secrets: &r.secrets,
		SecretsOf: func(config json.RawMessage) []string { return spec.Secrets(r.schema(), config) },
	})
}

// schema is that of the configuration.
func (r *run) schema() *jsonschema.Schema { return r.spec().ConnectionSpecification }
