// Package protocol is the Airbyte protocol, version 0.18, as a connector sees
// it: the messages, the reader of stdin, the one writer of stdout, errors,
// arguments, signals and exit codes.
//
// A connector implements [Source] or [Destination] and hands it to
// [RunSource] or [RunDestination]. It never meets a flag, a file of the
// orchestrator, an exit code or the process's standard output: what it has to
// say goes through the [Emitter].
//
// # The wire
//
// Messages are JSON objects, one per line. A source writes RECORD and STATE
// messages; a STATE is a promise that every record before it, of its stream,
// has been written. A destination reads both and repeats a STATE only when the
// records it covers are durable and visible to readers. TRACE messages carry
// stream statuses and errors, CONTROL carries a changed configuration, LOG is
// for people.
//
// An error reaches the orchestrator twice: as a TRACE that says what is wrong
// and whose fault it is ([Kind]), and as a non-zero exit code. Both are needed:
// Airbyte's platform takes the reason from the TRACE, PyAirbyte believes the exit
// code only. A check that fails for a reason the user can mend is no error but an
// answer, and exits with 0.
//
// What others send is read leniently: explicit nulls count as absent, fields and
// message types nobody knows are passed over, and kept where a message is
// repeated. A message that is recognisably broken is an error.
//
// # Secrets
//
// What stands in the configuration where its schema says airbyte_secret appears
// in no message but CONTROL, which is there to carry it. Secrets that a connector
// obtains otherwise it announces with [Emitter.Redact].
package protocol

import (
	"context"
	"encoding/json"
	"io"
)

// Version is the version of the connectors, set by the linker.
var Version = "dev"

// A Source reads from some system. Config is the user's JSON as given (see
// [DecodeConfig]); a method reports a bad one as a [ConfigError].
type Source interface {
	Spec() Spec

	// Check tests the connection. A nil error is SUCCEEDED. A ConfigError or
	// TransientError is FAILED with its message; any other error is a crash.
	// A token rotated on the way goes out through Emitter.Control.
	Check(ctx context.Context, config json.RawMessage, out *Emitter) error

	// Discover lists the streams there are to read.
	Discover(ctx context.Context, config json.RawMessage, out *Emitter) (Catalog, error)

	// Read writes the records and states of the configured streams. It returns
	// nil only when every stream was read completely. When ctx ends (SIGTERM)
	// it stops as soon as it can, states intact, and returns ctx's error.
	Read(ctx context.Context, job ReadJob, out *Emitter) error
}

// ReadJob is what a source is asked to read.
type ReadJob struct {
	Config  json.RawMessage
	Catalog ConfiguredCatalog
	States  []State // empty on a first sync
}

// A Destination writes to some system. Config is as for a [Source].
type Destination interface {
	Spec() Spec

	// Check tests that writing works; errors are as for Source.Check.
	Check(ctx context.Context, config json.RawMessage, out *Emitter) error

	// Write consumes job.Input to its end and echoes through [Emitter.Echo]
	// each STATE whose records have become durable and visible. It returns nil
	// only when everything was committed. When ctx ends (SIGTERM) it stops
	// reading, commits what is covered by a state, echoes it, and returns
	// ctx's error.
	Write(ctx context.Context, job WriteJob, out *Emitter) error
}

// WriteJob is what a destination is asked to write.
type WriteJob struct {
	Config  json.RawMessage
	Catalog ConfiguredCatalog
	Input   io.Reader // messages, one a line; see [NewInput]
}
