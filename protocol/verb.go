package protocol

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"

	"github.com/invopop/jsonschema"
	"github.com/spf13/cobra"

	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// A verb is one of the protocol.
type verb struct {
	name     string
	flags    []string // files that must be given
	optional []string
	progress bool   // it has the flag
	input    bool   // it reads messages from standard input
	summary  string // as in a [Command]
	examples []string
	run      func(context.Context) error
}

func (r *run) specVerb() verb {
	return verb{
		name:     "spec",
		summary:  "prints what a configuration can contain, as one SPEC message with a JSON Schema",
		examples: []string{"spec"},
		run:      r.runSpec,
	}
}

func (r *run) checkVerb(check func(context.Context, json.RawMessage, *Emitter) error) verb {
	return verb{
		name: "check", flags: []string{"config"},
		summary:  "tests a configuration and prints one CONNECTION_STATUS message",
		examples: []string{"check --config " + r.program + ".json"},
		run:      func(ctx context.Context) error { return r.runCheck(ctx, check) },
	}
}

// runProtocol runs a verb of the protocol. Errors and panics become a TRACE.
func (r *run) runProtocol(ctx context.Context, v verb, cmd *cobra.Command) int {
	r.newEmitter()
	if r.debug || r.env.Getenv != nil && strings.EqualFold(r.env.Getenv("LOG_LEVEL"), "debug") {
		r.out.log = r.out.newLogger(slog.LevelDebug)
	}
	if r.wantsProgress(cmd, r.out.screen) {
		r.out.progress = newProgress(r.out.screen, r.program, &r.out.secrets)
	}
	err := r.runVerb(ctx, v)
	if err == nil {
		err = r.out.Flush()
	}
	if err != nil {
		r.report(ctx, err)
	}
	r.out.progress.finish(ctx, err)
	if err != nil {
		return exitError
	}
	return exitOK
}

func (r *run) runVerb(ctx context.Context, v verb) (err error) {
	defer Recover(&err)
	for _, name := range v.flags {
		if *r.paths[name] == "" {
			return &Error{Kind: ConfigError, Message: fmt.Sprintf("%s needs --%s with the path of the %s file.", v.name, name, name)}
		}
	}
	if v.input && *r.paths["config"] == "-" {
		return &Error{Kind: ConfigError, Message: v.name + " reads messages from standard input, so the configuration cannot come from there. Give --config the path of a file."}
	}
	if slices.Contains(v.flags, "config") {
		if err := r.readConfig(*r.paths["config"]); err != nil {
			return err
		}
	}
	if v.input && isRegularFile(r.env.Stdin) { // its failures were shown in another run, if at all
		r.out.shownOn = ""
	}
	if v.input && terminal.Is(r.env.Stdin) {
		fmt.Fprintf(r.out.screen, "%s waits for Airbyte messages on standard input, one on each line. Nothing is connected to it. "+
			"Press Ctrl-C, and connect a source (source read … | %[2]s %[1]s …) or a file (%[2]s %[1]s … < messages.jsonl).\n", v.name, r.env.Name)
	}
	return v.run(ctx)
}

// report writes an error to stdout or, if that failed, to stderr. It does not repeat
// what was reported for single streams. Unfinished streams become INCOMPLETE.
func (r *run) report(ctx context.Context, err error) {
	var werr error
	switch {
	case errors.Is(err, ErrStreamsFailed) && err.Error() == ErrStreamsFailed.Error():
		werr = r.out.closeStreams()
	case ctx.Err() != nil && errors.Is(err, context.Canceled):
		werr = r.out.crash(interrupted(err))
	default:
		werr = r.out.crash(describe(err))
	}
	if werr != nil && !errors.Is(werr, syscall.EPIPE) { // the reader knows that it closed the pipe
		fmt.Fprintln(r.out.screen, r.out.secrets.Clean(errors.Join(werr, err).Error()))
	}
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
		return r.out.connectionStatus("SUCCEEDED", "", nil)
	case ctx.Err() != nil, !errors.As(err, &e), e.Kind == SystemError:
		return err
	}
	if e.Err == nil {
		err = nil
	}
	return r.out.connectionStatus("FAILED", e.Message, err)
}

func (r *run) readConfig(path string) error {
	r.out.schema = r.spec().ConnectionSpecification
	data, err := r.loadConfig(path, r.out.schema, &r.out.secrets)
	if err != nil {
		return err
	}
	r.config = data
	for _, warning := range unknownKeys(r.out.schema, data) {
		if err := r.out.Log("WARN", warning); err != nil {
			return err
		}
	}
	return nil
}

// loadConfig reads a configuration and replaces the variables in it. It redacts the
// secrets before anything can be written about it.
func (r *run) loadConfig(path string, schema *jsonschema.Schema, secrets *redact.Redactor) (json.RawMessage, error) {
	data, err := r.configText(path)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		if err == nil {
			err = errors.New("it is null")
		}
		return nil, &Error{Kind: ConfigError, Message: fmt.Sprintf("The config file %s is not a JSON object: %s.", path, invalid(err))}
	}
	if data, err = ExpandVariables(data, r.env.Getenv); err != nil {
		return nil, err
	}
	secrets.Add(secretValues(schema, data)...)
	return data, nil
}

// configText reads the file at a path, or standard input if that is "-".
func (r *run) configText(path string) ([]byte, error) {
	if path != "-" {
		return readFile(path, "config")
	}
	if terminal.Is(r.env.Stdin) {
		fmt.Fprintln(r.env.Stderr, "Type or paste the configuration, then press Ctrl-D.")
	}
	data, err := io.ReadAll(r.env.Stdin)
	if err != nil {
		return nil, &Error{Kind: ConfigError, Message: fmt.Sprintf("The configuration cannot be read from standard input: %v.", err), Err: err}
	}
	return decodeText(data, path, "config")
}

// ReadConfiguredCatalog reads a configured catalog from a file.
func ReadConfiguredCatalog(path string) (ConfiguredCatalog, error) {
	data, err := readFile(path, "catalog")
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

// readFile reads a file without the byte-order mark that some editors write.
func readFile(path, what string) ([]byte, error) {
	if strings.HasPrefix(strings.TrimSpace(path), "{") { // it may contain secrets
		return nil, &Error{Kind: ConfigError, Message: fmt.Sprintf("Give --%s the path of a file, not its content.", what)}
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, &Error{Kind: ConfigError, Message: fmt.Sprintf("The %s file cannot be read: %v.", what, err), Err: err}
	}
	return decodeText(data, path, what)
}

// decodeText returns the text of a file without its byte-order mark.
func decodeText(data []byte, path, what string) ([]byte, error) {
	if encoding := encodingOf(data[:min(len(data), 120)]); encoding != "" {
		return nil, &Error{Kind: ConfigError, Message: fmt.Sprintf("The %s file %s is %s but must be JSON in UTF-8. "+
			"Windows PowerShell before 7.4 writes such files with >: write it in cmd, or in a newer PowerShell.", what, path, encoding)}
	}
	return bytes.TrimPrefix(data, []byte(byteOrderMark)), nil
}
