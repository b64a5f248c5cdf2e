package protocol

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strings"
)

// Env is the process as a run sees it; tests make their own.
type Env struct {
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string // nil: no environment
}

// A Command is a verb of a connector beyond those of the protocol: one for
// people, which prints text. Flags may register flags; Run gets what remains of
// the arguments after them.
type Command struct {
	Name    string
	Summary string // half a sentence for the usage text
	New     func(*flag.FlagSet) func(ctx context.Context, env Env) error
}

// Exit codes of a run.
const (
	exitOK    = 0
	exitError = 1
	exitUsage = 2
)

// RunSource runs one verb of a source and returns the exit code.
func RunSource(ctx context.Context, s Source, env Env, extra ...Command) int {
	r := &run{env: env, spec: s.Spec, extra: extra}
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
		{name: "read", flags: []string{"config", "catalog"}, optional: []string{"state"}, run: func(ctx context.Context) error {
			catalog, err := r.readCatalog()
			if err != nil {
				return err
			}
			states, err := r.readStates()
			if err != nil {
				return err
			}
			return s.Read(ctx, ReadJob{Config: r.config, Catalog: catalog, States: states}, r.out)
		}},
	}
	return r.do(ctx)
}

// RunDestination runs one verb of a destination and returns the exit code.
func RunDestination(ctx context.Context, d Destination, env Env, extra ...Command) int {
	r := &run{env: env, spec: d.Spec, extra: extra}
	r.verbs = []verb{
		{name: "spec", run: r.runSpec},
		{name: "check", flags: []string{"config"}, run: func(ctx context.Context) error { return r.runCheck(ctx, d.Check) }},
		{name: "write", flags: []string{"config", "catalog"}, run: func(ctx context.Context) error {
			catalog, err := r.readCatalog()
			if err != nil {
				return err
			}
			return d.Write(ctx, WriteJob{Config: r.config, Catalog: catalog, Input: env.Stdin}, r.out)
		}},
	}
	return r.do(ctx)
}

// run is one invocation.
type run struct {
	env   Env
	spec  func() Spec
	verbs []verb
	extra []Command

	out    *Emitter
	config json.RawMessage
	paths  map[string]*string
}

type verb struct {
	name     string
	flags    []string // files that must be given
	optional []string
	run      func(context.Context) error
}

func (r *run) do(ctx context.Context) int {
	if len(r.env.Args) == 0 || r.env.Args[0] == "help" || strings.Trim(r.env.Args[0], "-") == "help" || r.env.Args[0] == "-h" {
		r.usage()
		if len(r.env.Args) == 0 {
			return exitUsage
		}
		return exitOK
	}
	name, args := r.env.Args[0], r.env.Args[1:]
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
	fmt.Fprintf(r.env.Stderr, "unknown verb %q\n\n", name)
	r.usage()
	return exitUsage
}

func (r *run) usage() {
	w := r.env.Stderr
	fmt.Fprintf(w, "Usage:\n")
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
	f := c.New(flags)
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	env := r.env
	env.Args = flags.Args()
	if err := f(ctx, env); err != nil {
		var e *Error
		if errors.As(err, &e) {
			fmt.Fprintln(r.env.Stderr, e.Message)
		} else {
			fmt.Fprintln(r.env.Stderr, err)
		}
		return exitError
	}
	return exitOK
}

// protocolVerb runs a verb of the protocol: messages on stdout, and whatever
// goes wrong, a panic included, as a TRACE there.
func (r *run) protocolVerb(ctx context.Context, v verb, args []string) (code int) {
	flags := flag.NewFlagSet(v.name, flag.ContinueOnError)
	flags.SetOutput(r.env.Stderr)
	r.paths = map[string]*string{}
	for _, name := range append(append([]string{}, v.flags...), v.optional...) {
		r.paths[name] = flags.String(name, "", "path of the "+name+" file")
	}
	level := &slog.LevelVar{}
	debugFlag := flags.Bool("debug", false, "log more")
	if err := flags.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return exitOK
		}
		return exitUsage
	}
	if *debugFlag || r.env.Getenv != nil && strings.EqualFold(r.env.Getenv("LOG_LEVEL"), "debug") {
		level.Set(slog.LevelDebug)
	}
	r.out = NewEmitter(r.env.Stdout)
	r.out.log = r.out.newLogger(level)
	defer func() {
		if p := recover(); p != nil {
			_ = r.out.crash(fmt.Errorf("panic: %v", p), string(debug.Stack())) // nothing left to tell it to
			code = exitError
		}
	}()
	if err := r.runVerb(ctx, v); err != nil {
		return r.report(ctx, err)
	}
	if err := r.out.Flush(); err != nil {
		return exitError
	}
	return exitOK
}

func (r *run) runVerb(ctx context.Context, v verb) error {
	for _, name := range v.flags {
		if *r.paths[name] == "" {
			return &Error{Kind: ConfigError, Message: fmt.Sprintf("%s needs --%s with the path of the %s file.", v.name, name, name)}
		}
	}
	if path, ok := r.paths["config"]; ok {
		if err := r.readConfig(*path); err != nil {
			return err
		}
	}
	return v.run(ctx)
}

// report tells what went wrong and returns the exit code. What was reported
// stream by stream is not said twice; an interrupted run ends its streams.
func (r *run) report(ctx context.Context, err error) int {
	switch {
	case errors.Is(err, ErrStreamsFailed):
		_ = r.out.Flush() // the exit code is an error already
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		_ = r.out.interrupt()
	default:
		_ = r.out.crash(err, "")
	}
	return exitError
}

func (r *run) runSpec(context.Context) error {
	s := r.spec()
	s.ProtocolVersion = "0.18.0"
	return r.out.spec(s)
}

func (r *run) runCheck(ctx context.Context, check func(context.Context, json.RawMessage, *Emitter) error) error {
	err := check(ctx, r.config, r.out)
	var e *Error
	switch {
	case err == nil:
		return r.out.connectionStatus("SUCCEEDED", "")
	case errors.As(err, &e) && e.Kind != SystemError:
		return r.out.connectionStatus("FAILED", e.Message)
	default:
		return err
	}
}

func (r *run) readConfig(path string) error {
	data, err := readFile(path, "config")
	if err != nil {
		return err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil {
		return &Error{Kind: ConfigError, Message: fmt.Sprintf("The config file %s is not a JSON object: %v.", path, err), Err: err}
	}
	r.config = data
	schema := r.spec().ConnectionSpecification
	r.out.Redact(secretValues(schema, data)...)
	for _, key := range unknownKeys(schema, data) {
		r.out.Log("WARN", fmt.Sprintf("The configuration's key %q is not known and has no effect. See the output of spec for the keys there are.", key))
	}
	return nil
}

func (r *run) readCatalog() (ConfiguredCatalog, error) {
	data, err := readFile(*r.paths["catalog"], "catalog")
	if err != nil {
		return ConfiguredCatalog{}, err
	}
	return ParseConfiguredCatalog(data)
}

func (r *run) readStates() ([]State, error) {
	if *r.paths["state"] == "" {
		return nil, nil
	}
	data, err := readFile(*r.paths["state"], "state")
	if err != nil {
		return nil, err
	}
	return ParseStates(data)
}

func readFile(path, what string) ([]byte, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Kind: ConfigError, Message: fmt.Sprintf("The %s file cannot be read: %v.", what, err), Err: err}
	}
	return data, nil
}
