// Package protocol is the Airbyte protocol, version 0.18, as a connector sees
// it: the messages, the reader of stdin, the one writer of stdout, and errors.
//
// A connector implements [Source] or [Destination]. Package cli runs it as a program, and
// package spec makes its specification and reads its configuration. The connector does not
// handle flags, files of the orchestrator, exit codes or standard output: it writes
// everything through the [Emitter].
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
// An error reaches the orchestrator twice: as a TRACE with the reason and who has to
// act ([Kind]), and as a non-zero exit code. Airbyte's platform takes the reason from
// the TRACE; PyAirbyte uses only the exit code. A check that fails for a reason that
// the user can fix is an answer and not an error, and exits with 0.
//
// Input is read leniently: explicit nulls count as absent, and unknown fields and
// message types are skipped, but kept where a message is repeated. A message that is
// recognisably broken is an error.
//
// # Secrets
//
// The values that the schema of the configuration marks as airbyte_secret appear in no
// message but CONTROL, whose purpose is to carry them. A connector announces other
// secrets with [Emitter.Redact].
package protocol

import (
	"context"
	"encoding/json"
	"io"
)

// A Source reads from some system. Config is the user's JSON with its
// environment variables expanded, for spec.DecodeConfig; a method reports a bad one as a
// [ConfigError].
type Source interface {
	Spec() Spec

	// Check tests the connection. A nil error is SUCCEEDED. A ConfigError or
	// TransientError is FAILED with its message; any other error is a crash.
	// A token rotated on the way goes out through Emitter.Control.
	Check(ctx context.Context, config json.RawMessage, out *Emitter) error

	// Discover lists the available streams.
	Discover(ctx context.Context, config json.RawMessage, out *Emitter) (Catalog, error)

	// Read writes the records and states of the configured streams. It returns
	// nil only if every stream was read completely. When ctx ends (SIGTERM), it
	// stops as soon as it can, with valid states, and returns ctx's error.
	Read(ctx context.Context, job ReadJob, out *Emitter) error
}

// ReadJob says what a source has to read.
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

// WriteJob says what a destination has to write.
type WriteJob struct {
	Config  json.RawMessage
	Catalog ConfiguredCatalog
	Input   io.Reader // one message per line; see [NewInput]
}
