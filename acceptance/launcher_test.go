//go:build acceptance

package acceptance

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// What a container of Airbyte's platform runs in the place of its ENTRYPOINT: it waits for its files, evaluates AIRBYTE_ENTRYPOINT
// with named pipes, sends SIGTERM when a file asks for it, and leaves the exit code in a file.
const launcherScript = `
[ -n "$AIRBYTE_ENTRYPOINT" ] || exit 127
echo waiting
until [ -e ready ]; do sleep 0.1; done
(eval "$AIRBYTE_ENTRYPOINT $ARGUMENTS" <$INPUT >stdout 2>stderr) &
connector=$!
(until [ -e stop ]; do sleep 0.1; done; kill -TERM $connector) &
wait $connector
code=$?
echo $code >code.part
mv code.part code
exit $code
`

// What the platform tells connectors by their environment.
var launcherEnvironment = []string{
	"DEPLOYMENT_MODE=OSS", "WORKER_CONNECTOR_IMAGE=ingest-connectors/connector:1", "WORKER_JOB_ID=7", "WORKER_JOB_ATTEMPT=0",
	"USE_STREAM_CAPABLE_STATE=true", "USE_FILE_TRANSFER=false", "AIRBYTE_STAGING_DIRECTORY=/staging", "CONNECTOR_STORAGE_LIMIT_BYTES=5000000000",
	"CONCURRENT_SOURCE_STREAM_READ=false", "AIRBYTE_ENABLE_UNSAFE_CODE=false", "LOG_LEVEL=INFO", "JAVA_OPTS=", "OPERATION_TYPE=sync",
	"WORKLOAD_ID=connection_7_0_sync", "PLATFORM_MODE=OSS",
}

// A role is the program, the image and the working directory of a connector, and its share of the memory, which is the limit in
// its metadata.yaml.
type role struct{ program, image, dir, memory string }

var (
	sourceRole      = role{"source", sourceImage, "/source", "256m"}
	destinationRole = role{"destination", destinationImage, "/dest", "1g"}
)

// A launched is a connector in its container.
type launched struct {
	role
	t      *testing.T
	engine string
	name   string // of the container
	dir    string // outside, of what is in the working directory
	args   []string
	lines  chan []byte // what the connector writes
	stderr bytes.Buffer
	ended  chan struct{} // the container has
	read   sync.WaitGroup
}

// launchIn starts a connector in a container that shares a directory with this machine. The files that its arguments name appear
// after its start. It reads a pipe if its verb is write.
func (r role) launchIn(t *testing.T, engine, shared string, files map[string]any, args ...string) *launched {
	t.Helper()
	l := &launched{
		role: r, t: t, engine: engine, name: fmt.Sprintf("acceptance-%d-%s-%d", os.Getpid(), r.program, time.Now().UnixNano()), dir: t.TempDir(),
		args: args, lines: make(chan []byte), ended: make(chan struct{}),
	}
	if err := os.Chmod(l.dir, 0o777); err != nil {
		t.Fatal(err)
	}
	stdout, stderr := l.follow("stdout"), l.follow("stderr")
	input := "/dev/null"
	if args[0] == "write" {
		input = "stdin"
		l.pipe(input)
	}
	options := []string{
		"--name", l.name, "--user", "1000:1000", "--memory", r.memory, "--memory-swap", r.memory,
		"--env", "INPUT=" + input, "--env", "ARGUMENTS=" + strings.Join(args, " "),
		"--volume", l.dir + ":" + r.dir, "--workdir", r.dir, "--volume", shared + ":" + shared, "--entrypoint", "sh",
	}
	for _, variable := range launcherEnvironment {
		options = append(options, "--env", variable)
	}
	cmd := exec.CommandContext(t.Context(), engine, inContainer(engine, options, r.image, "-c", launcherScript)...)
	var failure bytes.Buffer
	cmd.Stderr = &failure
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if line, err := bufio.NewReader(said).ReadString('\n'); line != "waiting\n" {
		_ = cmd.Wait()
		t.Fatalf("the container of %s does not start (%v): %s%s", r.image, err, line, &failure)
	}
	for name, content := range files {
		writeJSON(t, filepath.Join(l.dir, name), content)
	}
	l.mark("ready")
	go func() {
		_ = cmd.Wait() // the connector's exit code is in a file
		close(l.ended)
	}()
	l.read.Go(func() { _, _ = io.Copy(&l.stderr, stderr) })
	go l.readLines(stdout)
	return l
}

// pipe makes a named pipe that the container's user may open.
func (l *launched) pipe(name string) (path string) {
	l.t.Helper()
	path = filepath.Join(l.dir, name)
	if err := errors.Join(syscall.Mkfifo(path, 0o666), os.Chmod(path, 0o666)); err != nil {
		l.t.Fatal(err)
	}
	return path
}

// follow makes a named pipe and reads what is written into it until the container has ended, whether or not it was ever opened there.
func (l *launched) follow(name string) io.Reader {
	l.t.Helper()
	path := l.pipe(name)
	open, err := os.OpenFile(path, os.O_RDWR|syscall.O_NONBLOCK, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	from, err := os.OpenFile(path, os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		l.t.Fatal(err)
	}
	go func() {
		<-l.ended
		open.Close() // the last writer
	}()
	l.t.Cleanup(func() { from.Close() })
	return from
}

func (l *launched) readLines(from io.Reader) {
	defer close(l.lines)
	for r := bufio.NewReader(from); ; {
		line, err := r.ReadBytes('\n')
		if len(line) > 0 {
			select {
			case l.lines <- line:
			case <-l.t.Context().Done():
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// stdin opens the pipe that the connector reads. Writing fails when it has ended.
func (l *launched) stdin() io.WriteCloser {
	l.t.Helper()
	for {
		to, err := os.OpenFile(filepath.Join(l.dir, "stdin"), os.O_WRONLY|syscall.O_NONBLOCK, 0)
		if err == nil {
			return to
		}
		if !errors.Is(err, syscall.ENXIO) {
			l.t.Fatal(err)
		}
		select { // nobody reads yet
		case <-l.ended:
			l.t.Fatalf("%s ended before it read: %s", l.image, &l.stderr)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// mark makes a file that the launcher waits for.
func (l *launched) mark(name string) {
	l.t.Helper()
	if err := os.WriteFile(filepath.Join(l.dir, name), nil, 0o644); err != nil {
		l.t.Fatal(err)
	}
}

// stop is how the platform or the cluster ends a connector.
func (l *launched) stop(how string) {
	l.t.Helper()
	switch how {
	case "by the launcher":
		l.mark("stop")
	case "by a signal to the program":
		out, err := exec.CommandContext(l.t.Context(), l.engine, "exec", l.name, "sh", "-c", "kill -TERM $(pidof "+l.program+")").CombinedOutput()
		// The container can be gone before its engine asks for what came of the kill; the program's exit code tells.
		if err != nil && !bytes.Contains(out, []byte("no such container")) {
			l.t.Fatalf("%v: %s", err, out)
		}
	case "with its pod":
		run(l.t, l.engine, "kill", "--signal", "KILL", l.name)
	default:
		l.t.Fatalf("no way to stop a connector: %q", how)
	}
}

// wait returns the exit code that the launcher has left, -1 without one. A connector must end even if nobody reads what it writes.
func (l *launched) wait() int {
	l.t.Helper()
	<-l.ended
	for range l.lines { // what nobody wants
	}
	l.read.Wait()
	text, err := os.ReadFile(filepath.Join(l.dir, "code"))
	if errors.Is(err, fs.ErrNotExist) {
		return -1
	}
	code, err2 := strconv.Atoi(strings.TrimSpace(string(text)))
	if err := errors.Join(err, err2); err != nil {
		l.t.Fatal(err)
	}
	return code
}
