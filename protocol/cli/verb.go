package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
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

func (r *run) checkVerb(check func(context.Context, json.RawMessage, *protocol.Emitter) error) verb {
	return verb{
		name: "check", flags: []string{"config"},
		summary:  "tests a configuration and prints one CONNECTION_STATUS message",
		examples: []string{"check --config " + r.program + ".json"},
		run:      func(ctx context.Context) error { return r.runCheck(ctx, check) },
	}
}

// runProtocol runs a verb of the protocol. Errors and panics become a TRACE.
func (r *run) runProtocol(ctx context.Context, v verb, cmd *cobra.Command) int {
	r.screen = r.env.screen(true)
	level := slog.LevelInfo
	if r.debug || r.env.Getenv != nil && strings.EqualFold(r.env.Getenv("LOG_LEVEL"), "debug") {
		level = slog.LevelDebug
	}
	shownOn := identity(r.env.Stderr)
	if v.input && isRegularFile(r.env.Stdin) { // its failures were shown in another run, if at all
		shownOn = ""
	}
	r.newEmitter(shownOn, level, r.newProgress(cmd))
	err := r.runVerb(ctx, v)
	if err == nil {
		err = r.out.Flush()
	}
	if err != nil {
		r.report(ctx, err)
	}
	r.out.Progress().Finish(ctx, err)
	if err != nil {
		return exitError
	}
	return exitOK
}

func (r *run) runVerb(ctx context.Context, v verb) (err error) {
	defer goroutine.Recover(&err)
	for _, name := range v.flags {
		if *r.paths[name] == "" {
			return protocol.ConfigError.Errorf(nil, "%s needs --%s with the path of the %s file.", v.name, name, name)
		}
	}
	if v.input && *r.paths["config"] == "-" {
		return &protocol.Error{Kind: protocol.ConfigError, Message: v.name + " reads messages from standard input, so the configuration cannot come from there. Give --config the path of a file."}
	}
	if slices.Contains(v.flags, "config") {
		if err := r.readConfig(*r.paths["config"]); err != nil {
			return err
		}
	}
	if v.input && terminal.Is(r.env.Stdin) {
		fmt.Fprintf(r.screen, "%s waits for Airbyte messages on standard input, one on each line. Nothing is connected to it. "+
			"Press Ctrl-C, and connect a source (%[3]s read … | %[2]s %[1]s …) or a file (%[2]s %[1]s … < messages.jsonl).\n", v.name, r.env.Name, r.env.neighbour("source"))
	}
	return v.run(ctx)
}

// report writes an error to stdout or, if that failed, to stderr.
func (r *run) report(ctx context.Context, err error) {
	werr := r.out.FailRun(ctx, err)
	if werr != nil && !osfile.PipeClosed(werr) { // the reader knows that it closed the pipe
		fmt.Fprintln(r.screen, r.secrets.Clean(errors.Join(werr, err).Error()))
	}
}

func (r *run) runSpec(context.Context) error {
	return r.out.Spec(r.spec())
}

func (r *run) runCheck(ctx context.Context, check func(context.Context, json.RawMessage, *protocol.Emitter) error) error {
	err := check(ctx, r.config, r.out)
	var e *protocol.Error
	switch {
	case err == nil:
		return r.out.ConnectionStatus("SUCCEEDED", "", nil)
	case ctx.Err() != nil, !errors.As(err, &e), e.Kind == protocol.SystemError:
		return err
	}
	if err.Error() == e.Message {
		err = nil
	}
	return r.out.ConnectionStatus("FAILED", e.Message, err)
}
