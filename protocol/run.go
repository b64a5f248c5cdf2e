package protocol

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/url"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
)

// Env is the process that a run belongs to. Tests make their own.
type Env struct {
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

// A Command is a verb that the protocol does not have. It prints text for people. New
// registers its flags and returns the function to run. That function gets in env.Args
// the arguments that are not flags, wherever they are between the flags. Its error or
// panic goes to stderr, with exit code 1.
type Command struct {
	Name    string
	Summary string // for the usage text, without a full stop
	// Config adds the required flag --config. The configuration is read as for the
	// verbs of the protocol: unknown keys cause warnings, secrets are redacted.
	Config bool
	// Progress adds the flag --progress. The verb says in env.Progress how it goes.
	Progress bool
	New      func(*flag.FlagSet) func(ctx context.Context, env Env) error
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
		{name: "spec", run: r.runSpec},
		{name: "check", flags: []string{"config"}, run: func(ctx context.Context) error { return r.runCheck(ctx, s.Check) }},
		{name: "discover", flags: []string{"config"}, run: func(ctx context.Context) error {
			c, err := s.Discover(ctx, r.config, r.out)
			if err != nil {
				return err
			}
			return r.out.catalog(c)
		}},
		{name: "read", flags: []string{"config", "catalog"}, optional: []string{"state"}, progress: true, run: func(ctx context.Context) error {
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
		}},
	}
	return r.do(ctx)
}

// RunDestination runs one verb of a destination and returns the exit code as
// [RunSource] does.
func RunDestination(ctx context.Context, d Destination, env Env, extra ...Command) int {
	r := &run{program: "destination", env: env, spec: d.Spec, extra: extra}
	r.verbs = []verb{
		{name: "spec", run: r.runSpec},
		{name: "check", flags: []string{"config"}, run: func(ctx context.Context) error { return r.runCheck(ctx, d.Check) }},
		{name: "write", flags: []string{"config", "catalog"}, progress: true, run: func(ctx context.Context) error {
			catalog, err := ReadConfiguredCatalog(*r.paths["catalog"])
			if err != nil {
				return err
			}
			r.out.progress.Expect("streams", len(catalog.Streams))
			return d.Write(ctx, WriteJob{Config: r.config, Catalog: catalog, Input: env.Stdin}, r.out)
		}},
	}
	return r.do(ctx)
}

// run is one invocation.
type run struct {
	program string
	env     Env
	spec    func() Spec
	verbs   []verb
	extra   []Command

	out    *Emitter
	config json.RawMessage
	paths  map[string]*string
}

type verb struct {
	name     string
	flags    []string // files that must be given
	optional []string
	progress bool // it has the flag
	run      func(context.Context) error
}

func (r *run) do(ctx context.Context) int {
	if len(r.env.Args) == 0 {
		r.usage()
		return exitUsage
	}
	name, args := r.env.Args[0], r.env.Args[1:]
	switch name {
	case "help", "-h", "-help", "--help":
		r.usage()
		return exitOK
	}
	for _, v := range r.verbs {
		if v.name == name {
			return r.protocolVerb(ctx, v, args)
		}
	}
	for _, c := range r.extra {
		if c.Name == name {
			return r.command(ctx, c, args)
		}
	}
	r.usage()
	r.newEmitter()
	return r.usageError(fmt.Sprintf("There is no verb %q.", name))
}

func (r *run) newEmitter() {
	r.out = NewEmitter(r.env.Stdout)
	r.out.screen, r.out.shownOn = r.env.screen(true), identity(r.env.Stderr)
	r.out.Redact(r.env.secrets()...)
}

func (r *run) usage() {
	w := r.env.Stderr
	fmt.Fprintf(w, "Usage (version %s):\n", Version)
	for _, v := range r.verbs {
		fmt.Fprintf(w, "  %s", v.name)
		for _, f := range v.flags {
			fmt.Fprintf(w, " --%s FILE", f)
		}
		for _, f := range v.optional {
			fmt.Fprintf(w, " [--%s FILE]", f)
		}
		fmt.Fprintln(w)
	}
	for _, c := range r.extra {
		fmt.Fprintf(w, "  %-10s %s (%s -h for its flags)\n", c.Name, c.Summary, c.Name)
	}
}

// command runs a verb for people: text on stdout, errors on stderr.
func (r *run) command(ctx context.Context, c Command, args []string) int {
	flags := flag.NewFlagSet(c.Name, flag.ContinueOnError)
	flags.SetOutput(r.env.Stderr)
	config := ""
	if c.Config {
		flags.StringVar(&config, "config", "", "path of the configuration `FILE`")
	}
	screen := r.env.screen(false)
	r.env.Stderr = screen
	progress := c.Progress && screen.IsTerminal()
	if c.Progress {
		flags.BoolVar(&progress, "progress", progress, progressUsage)
	}
	f := c.New(flags)
	operands, err := parseMixed(flags, args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		return exitOK
	case err != nil:
		return exitUsage
	}
	r.env.Args = operands
	var secrets redact.Redactor
	secrets.Add(r.env.secrets()...)
	r.env.Stderr = secrets.Writer(r.env.Stderr)
	if progress {
		r.env.Progress = newProgress(screen, r.program, &secrets)
		defer r.env.Progress.End()
	}
	if err := r.runCommand(ctx, c, config, &secrets, f); err != nil {
		message := err.Error()
		if e := (*Error)(nil); errors.As(err, &e) {
			message = e.Message
		}
		fmt.Fprintln(r.env.Stderr, message)
		if p := (*panicError)(nil); errors.As(err, &p) {
			fmt.Fprint(r.env.Stderr, p.stack)
		}
		return exitError
	}
	return exitOK
}

func (r *run) runCommand(ctx context.Context, c Command, configPath string, secrets *redact.Redactor, f func(context.Context, Env) error) (err error) {
	defer Recover(&err)
	env := r.env
	if c.Config {
		if configPath == "" {
			return &Error{Kind: ConfigError, Message: "Give the configuration's path with --config."}
		}
		schema := r.spec().ConnectionSpecification
		if env.Config, err = loadConfig(configPath, schema, secrets); err != nil {
			return err
		}
		for _, key := range unknownKeys(schema, env.Config) {
			fmt.Fprintln(env.Stderr, "warning: "+unknownKey(key))
		}
	}
	return f(ctx, env)
}

// parseMixed parses flags among other arguments, as in "preview sleep --json", and
// returns the others. Package flag stops at the first of them. After "--" there are
// no flags.
func parseMixed(flags *flag.FlagSet, args []string) (operands []string, err error) {
	for {
		if err := flags.Parse(args); err != nil {
			return nil, err
		}
		rest := flags.Args()
		if parsed := len(args) - len(rest); len(rest) == 0 || parsed > 0 && args[parsed-1] == "--" {
			return append(operands, rest...), nil
		}
		operands, args = append(operands, rest[0]), rest[1:]
	}
}
