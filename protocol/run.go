package protocol

import (
	"context"
	"encoding/json"
	"io"
	"net/url"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
)

// Env is the process that a run belongs to. Tests make their own.
type Env struct {
	Name           string   // of the program, as it was called: bin/source; "": source or destination
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string // nil: no environment

	// Of a Command that asks for it.
	Config   json.RawMessage
	Progress *Progress
}

// secrets are those in the variables that libraries read and may quote in errors.
func (e Env) secrets() []string {
	if e.Getenv == nil {
		return nil
	}
	secrets := []string{e.Getenv("AWS_SECRET_ACCESS_KEY"), e.Getenv("AWS_SESSION_TOKEN"), e.Getenv("PGPASSWORD")}
	for _, address := range []string{
		"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
	} {
		secrets = append(secrets, redact.CredentialsIn(e.Getenv(address))...)
	}
	for _, headers := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"} {
		secrets = append(secrets, headerSecrets(e.Getenv(headers))...)
	}
	return secrets
}

// headerSecrets are the values in a list such as "api-key=abc,authorization=Bearer%20def",
// and those without the scheme. What is not of that form is a secret as a whole.
func headerSecrets(headers string) (secrets []string) {
	for header := range strings.SplitSeq(headers, ",") {
		value := header
		if _, after, ok := strings.Cut(header, "="); ok {
			value = after
		}
		secrets = append(secrets, strings.TrimSpace(value))
		decoded, err := url.PathUnescape(value)
		if err != nil {
			continue
		}
		secrets = append(secrets, strings.TrimSpace(decoded))
		if words := strings.Fields(decoded); len(words) > 1 {
			secrets = append(secrets, words[len(words)-1])
		}
	}
	return secrets
}

// Exit codes of a run.
const (
	exitOK    = 0 // also if a check says FAILED
	exitError = 1
	exitUsage = 2 // the arguments are invalid
)

// RunSource runs one verb of a source and returns the exit code: 0 if it succeeded, 1
// if not, 2 for invalid arguments. A verb of the protocol, or an unknown one, that
// fails writes a TRACE with the reason, or writes it to stderr if stdout failed.
func RunSource(ctx context.Context, s Source, env Env, extra ...Command) int {
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
				return r.out.catalog(c)
			},
		},
		{
			name: "read", flags: []string{"config", "catalog"}, optional: []string{"state"}, progress: true,
			summary: "reads the streams of a configured catalog and prints RECORD, STATE and TRACE messages",
			examples: []string{
				"read --config source.json --catalog catalog.json > messages.jsonl",
				"read --config source.json --catalog catalog.json --state state.json | destination write --config destination.json --catalog catalog.json",
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
				r.out.progress.Expect("streams", len(catalog.Streams))
				return s.Read(ctx, ReadJob{Config: r.config, Catalog: catalog, States: states}, r.out)
			},
		},
	}
	return r.do(ctx)
}

// RunDestination runs one verb of a destination and returns the exit code as
// [RunSource] does.
func RunDestination(ctx context.Context, d Destination, env Env, extra ...Command) int {
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
				r.out.progress.Expect("streams", len(catalog.Streams))
				return d.Write(ctx, WriteJob{Config: r.config, Catalog: catalog, Input: env.Stdin}, r.out)
			},
		},
	}
	return r.do(ctx)
}

// run is one invocation.
type run struct {
	program string // source or destination
	env     Env
	spec    func() Spec
	verbs   []verb
	extra   []Command

	paths           map[string]*string // the values of the flags
	debug, progress bool
	code            int

	out    *Emitter
	config json.RawMessage
}

func (r *run) newEmitter() {
	r.out = NewEmitter(r.env.Stdout)
	r.out.screen, r.out.shownOn = r.env.screen(true), identity(r.env.Stderr)
	r.out.Redact(r.env.secrets()...)
}
