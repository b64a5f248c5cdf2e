package cli_test

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// stdoutAtInit is what a library keeps that looks at os.Stdout early.
var stdoutAtInit = os.Stdout

// TestMain lets the test binary be a connector, for what only a process shows.
func TestMain(m *testing.M) {
	switch behaviour := os.Getenv("TEST_CONNECTOR"); behaviour {
	case "":
		os.Exit(m.Run())
	case "signalled after the answer":
		cli.Main(func(ctx context.Context, env cli.Env) int {
			code := cli.RunSource(ctx, behaviours[behaviour], env)
			<-ctx.Done()
			return code
		})
	default:
		cli.Main(func(ctx context.Context, env cli.Env) int {
			return cli.RunSource(ctx, behaviours[behaviour], env)
		})
	}
}

var behaviours = map[string]source{
	"prints": {check: func(context.Context, json.RawMessage, *protocol.Emitter) error {
		fmt.Println("stray fmt")
		fmt.Fprintln(stdoutAtInit, "stray init")
		println("stray builtin")
		log.Print("stray log")
		slog.Info("stray slog")
		if _, err := syscall.Write(1, []byte("stray descriptor\n")); err != nil {
			return err
		}
		child := exec.Command("echo", "stray child")
		child.Stdout = os.Stdout
		return child.Run()
	}},
	"signalled after the answer": {check: func(context.Context, json.RawMessage, *protocol.Emitter) error { return nil }},
	"hangs": {read: func(ctx context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
		if err := out.Status(stream, protocol.Started); err != nil {
			return err
		}
		<-ctx.Done()
		if err := out.Log("INFO", "first signal"); err != nil {
			return err
		}
		select {}
	}},
	"floods": {read: func(ctx context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
		if err := out.Status(stream, protocol.Started); err != nil {
			return err
		}
		for ctx.Err() == nil {
			if err := out.Record(stream, json.RawMessage(`{"x":"pass\"word"}`)); err != nil {
				return err
			}
		}
		return ctx.Err()
	}},
}

// start starts the test binary as a connector that behaves so.
func start(t *testing.T, behaviour string, stdout io.Writer, args ...string) (*exec.Cmd, *bytes.Buffer) {
	t.Helper()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), exe, args...)
	cmd.Env = append(os.Environ(), "TEST_CONNECTOR="+behaviour)
	cmd.Stdout, cmd.Stderr = stdout, &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return cmd, &stderr
}

// wait waits for the end of a connector and returns the signal it died of, or 0
// and its exit code.
func wait(t *testing.T, cmd *exec.Cmd) (syscall.Signal, int) {
	t.Helper()
	var exit *exec.ExitError
	if err := cmd.Wait(); err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if ws := cmd.ProcessState.Sys().(syscall.WaitStatus); ws.Signaled() {
		return ws.Signal(), -1
	}
	return 0, cmd.ProcessState.ExitCode()
}

func checkArgs(t *testing.T) []string {
	return []string{"check", "--config", protocoltest.File(t, goodConfig)}
}

func readArgs(t *testing.T) []string {
	return []string{"read", "--config", protocoltest.File(t, goodConfig), "--catalog", protocoltest.File(t, goodCatalog)}
}

func TestStrayPrintsDoNotReachStdout(t *testing.T) {
	run := protocoltest.Run{Args: checkArgs(t), Secrets: []string{`pass"word`}}
	var stdout bytes.Buffer
	cmd, stderr := start(t, "prints", &stdout, run.Args...)
	_, run.Code = wait(t, cmd)
	run.Stdout, run.Stderr = stdout.Bytes(), stderr.Bytes()
	run.Check(t)
	if len(run.Messages) != 1 || run.Code != 0 {
		t.Errorf("exit code %d, stdout %s", run.Code, run.Stdout)
	}
	for _, way := range []string{"fmt", "init", "builtin", "log", "slog", "descriptor", "child"} {
		if !strings.Contains(stderr.String(), "stray "+way) {
			t.Errorf("what was printed by %s is lost: %s", way, stderr)
		}
	}
}

func TestASignalAfterTheAnswerIsSuccess(t *testing.T) {
	r, w := io.Pipe()
	run := protocoltest.Run{Args: checkArgs(t)}
	cmd, _ := start(t, "signalled after the answer", w, run.Args...)
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	signal, code := wait(t, cmd)
	run.Stdout, run.Code = line, code
	run.Check(t)
	if signal != 0 || code != 0 {
		t.Errorf("signal %v, exit code %d", signal, code)
	}
}

func TestASignalEndsAReadInOrder(t *testing.T) {
	unignored := make(chan os.Signal, 1) // nohup may have started this test
	signal.Notify(unignored, syscall.SIGHUP)
	defer signal.Stop(unignored)
	for _, s := range []syscall.Signal{syscall.SIGTERM, syscall.SIGINT, syscall.SIGHUP} {
		t.Run(s.String(), func(t *testing.T) {
			r, w := io.Pipe()
			args := readArgs(t)
			cmd, stderr := start(t, "floods", w, args...)
			var stdout bytes.Buffer
			read := make(chan error, 1)
			begun := make(chan struct{})
			go func() {
				_, err := io.CopyN(&stdout, r, 1<<20)
				close(begun)
				if err == nil {
					_, err = io.Copy(&stdout, r)
				}
				read <- err
			}()
			<-begun
			if err := cmd.Process.Signal(s); err != nil {
				t.Fatal(err)
			}
			if s == syscall.SIGHUP { // and once more, by the shell
				if err := cmd.Process.Signal(s); err != nil {
					t.Fatal(err)
				}
			}
			died, _ := wait(t, cmd)
			w.Close()
			if err := <-read; err != nil {
				t.Fatal(err)
			}
			// What it says is what a run says that ends by itself with an error.
			run := protocoltest.Run{Args: args, Code: 1, Stdout: stdout.Bytes(), Stderr: stderr.Bytes()}
			run.Check(t)
			if died != s && !(s == syscall.SIGINT && signal.Ignored(s)) { // a background process of a shell
				t.Errorf("it died of %v", died)
			}
			statuses := run.Statuses(stream)
			if errs := run.Errors(); len(errs) != 1 || errs[0].FailureType != protocol.TransientError || statuses[len(statuses)-1] != protocol.Incomplete {
				t.Errorf("errors %+v, statuses %v", errs, statuses)
			}
		})
	}
}

// What logs to a reader that is gone, as to a tee that Ctrl-C ended, still answers.
func TestAStandardErrorThatNobodyReads(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	r.Close()
	defer w.Close()
	run := protocoltest.Run{Args: []string{"check", "--config", filepath.Join(t.TempDir(), "missing.json")}}
	var stdout bytes.Buffer
	cmd := exec.CommandContext(t.Context(), exe, run.Args...)
	cmd.Env = append(os.Environ(), "TEST_CONNECTOR=prints")
	cmd.Stdout, cmd.Stderr = &stdout, w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	died, code := wait(t, cmd)
	run.Stdout, run.Code = stdout.Bytes(), code
	run.Check(t)
	if died != 0 || code != 1 || len(run.Errors()) != 1 {
		t.Errorf("it died of %v with exit code %d and said %s", died, code, stdout.String())
	}
}

// A shell without job control, as in a script, starts background processes that
// ignore SIGINT, and a process that raises a signal it ignores would wait for ever.
func TestAProcessStartedWithSIGINTIgnoredEnds(t *testing.T) {
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	r, w := io.Pipe()
	cmd := exec.CommandContext(t.Context(), "sh", append([]string{"-c", `trap "" INT; exec "$0" "$@"`, exe}, readArgs(t)...)...)
	cmd.Env, cmd.Stdout = append(os.Environ(), "TEST_CONNECTOR=floods"), w
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Process.Signal(syscall.SIGINT); err != nil {
		t.Fatal(err)
	}
	go func() { _, _ = io.Copy(io.Discard, r) }() // what it says until it ends
	if died, code := wait(t, cmd); code != 128+int(syscall.SIGINT) {
		t.Errorf("signal %v, exit code %d", died, code)
	}
	w.Close()
}

func TestASecondSignalEndsARunAtOnce(t *testing.T) {
	r, w := io.Pipe()
	cmd, _ := start(t, "hangs", w, readArgs(t)...)
	lines := bufio.NewReader(r)
	for i := range 2 { // STARTED, then the log of the first signal
		if _, err := lines.ReadBytes('\n'); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
			t.Fatal(err)
		}
		if i == 0 {
			continue
		}
		if signal, code := wait(t, cmd); signal != syscall.SIGTERM { // it would hang else
			t.Errorf("signal %v, exit code %d", signal, code)
		}
	}
}

func TestAReaderThatLeavesEndsARunQuietly(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd, stderr := start(t, "floods", w, readArgs(t)...)
	w.Close()
	if _, err := io.CopyN(io.Discard, r, 1<<20); err != nil {
		t.Fatal(err)
	}
	r.Close()
	if signal, code := wait(t, cmd); signal != 0 || code != 1 || stderr.Len() > 0 {
		t.Errorf("signal %v, exit code %d, stderr %s", signal, code, stderr)
	}
}

func TestAnOutputThatCannotBeWrittenIsToldOnStderr(t *testing.T) {
	readOnly, err := os.Open(os.DevNull)
	if err != nil {
		t.Fatal(err)
	}
	defer readOnly.Close()
	cmd, stderr := start(t, "floods", readOnly, readArgs(t)...)
	if signal, code := wait(t, cmd); signal != 0 || code != 1 || !strings.HasPrefix(stderr.String(), "writing to standard output: write /dev/stdout: bad file descriptor") {
		t.Errorf("signal %v, exit code %d, stderr %s", signal, code, stderr)
	}
}
