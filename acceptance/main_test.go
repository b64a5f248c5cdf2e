//go:build acceptance

// Package acceptance tests the two programs as their users meet them: the built
// binaries, a sandbox process, tables on disk, and engines that are not ours.
package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// What TestMain has found and made.
var (
	repository  string // its root
	binaries    string // the directory of source and destination
	source      string
	destination string
	python      string // of the virtual environment with the engines
)

func TestMain(m *testing.M) {
	code, err := prepare(m)
	if err != nil {
		fmt.Fprintln(os.Stderr, "acceptance:", err)
		code = 1
	}
	os.Exit(code)
}

func prepare(m *testing.M) (code int, err error) {
	if repository, err = filepath.Abs(".."); err != nil {
		return 0, err
	}
	python = filepath.Join(repository, ".cache/engines/bin/python")
	if _, err := os.Stat(python); err != nil {
		return 0, fmt.Errorf("the engines that judge the tables are not installed (%w): run make engines", err)
	}
	if binaries, err = os.MkdirTemp("", "acceptance-bin"); err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(binaries)) }()
	build := exec.Command("go", "build", "-tags", "minicore_disabled,grpcnotrace", "-o", binaries+"/", "./source", "./destination")
	build.Dir = repository
	if out, err := build.CombinedOutput(); err != nil {
		return 0, fmt.Errorf("building: %w\n%s", err, out)
	}
	source, destination = filepath.Join(binaries, "source"), filepath.Join(binaries, "destination")
	transcript := filepath.Join(binaries, "transcript.jsonl")
	if err := os.Setenv(protocoltest.TranscriptVariable, transcript); err != nil {
		return 0, err
	}
	code = m.Run()
	return code, judge(transcript)
}

// judge lets the models of Airbyte's protocol validate all that the programs have said in the tests.
func judge(transcript string) error {
	if _, err := os.Stat(transcript); errors.Is(err, fs.ErrNotExist) {
		return nil // none of the tests that ran has a program speak the protocol
	}
	said, err := finish(exec.Command(filepath.Join(repository, ".cache/pyairbyte/bin/python"), filepath.Join(repository, "acceptance/engines/models.py"), transcript))
	if err != nil {
		return err
	}
	fmt.Printf("messages that Airbyte's models take: %s", said)
	return nil
}

// run runs a program to its end and returns what it wrote on standard output.
func run(t testing.TB, program string, args ...string) []byte {
	t.Helper()
	stdout, err := output(t.Context(), program, args...)
	if err != nil {
		t.Fatal(err)
	}
	return stdout
}

// output is run for other goroutines than the test's.
func output(ctx context.Context, program string, args ...string) ([]byte, error) {
	return finish(exec.CommandContext(ctx, program, args...))
}

func finish(cmd *exec.Cmd) ([]byte, error) {
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	stdout, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w\n%s%s", cmd, err, last(stdout, 4000), last(stderr.Bytes(), 4000))
	}
	return stdout, nil
}

// speak runs a verb of the protocol to its end, holds what it says against the
// rules, and returns it.
func speak(t testing.TB, program string, args ...string) *protocoltest.Run {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), program, args...)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		t.Fatalf("%s: %v", cmd, err)
	}
	r := &protocoltest.Run{Args: args, Stdout: stdout.Bytes(), Stderr: stderr.Bytes(), Code: cmd.ProcessState.ExitCode()}
	r.Check(t)
	return r
}

// discover returns the streams that a source discovers, as they are in its CATALOG message.
func discover(t testing.TB, program string, flags ...string) []json.RawMessage {
	t.Helper()
	var discovered struct {
		Catalog struct{ Streams []json.RawMessage }
	}
	for _, message := range speak(t, program, append([]string{"discover"}, flags...)...).Messages {
		if message.Catalog != nil {
			unmarshal(t, message.Raw, &discovered)
		}
	}
	return discovered.Catalog.Streams
}

// last is the end of a long output.
func last(text []byte, n int) []byte {
	if len(text) > n {
		return text[len(text)-n:]
	}
	return text
}
