//go:build acceptance

package acceptance

import (
	"bufio"
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// The images that `make images` has made.
const (
	sourceImage      = "source-whoop:latest"
	destinationImage = "destination-iceberg:latest"
)

// containerEngine is podman or docker; without either these tests fail.
func containerEngine(t testing.TB) string {
	t.Helper()
	return strings.TrimSpace(string(run(t, filepath.Join(repository, "acceptance/images/engine.sh"))))
}

func TestImagesAreWhatOrchestratorsExpect(t *testing.T) {
	engine := containerEngine(t)
	for image, want := range map[string]struct{ entrypoint, name string }{
		sourceImage:      {"/airbyte/source", "ingest-connectors/source-whoop"},
		destinationImage: {"/airbyte/destination", "ingest-connectors/destination-iceberg"},
	} {
		t.Run(image, func(t *testing.T) {
			var inspected []struct {
				Config struct {
					User       string
					Env        []string
					Entrypoint []string
					Labels     map[string]string
				}
			}
			unmarshal(t, run(t, engine, "image", "inspect", image), &inspected)
			config := inspected[0].Config
			if config.User != "1000:1000" {
				t.Errorf("it runs as %q", config.User)
			}
			if diff := cmp.Diff([]string{want.entrypoint}, config.Entrypoint); diff != "" {
				t.Errorf("ENTRYPOINT (-want +got):\n%s", diff)
			}
			if !slices.Contains(config.Env, "AIRBYTE_ENTRYPOINT="+want.entrypoint) {
				t.Errorf("its environment has no AIRBYTE_ENTRYPOINT like its ENTRYPOINT: %q", config.Env)
			}
			version := config.Labels["io.airbyte.version"]
			if config.Labels["io.airbyte.name"] != want.name || version == "" || version == "dev" {
				t.Errorf("labels: %q", config.Labels)
			}
			printed, err := exec.CommandContext(t.Context(), engine, inContainer(engine, nil, image, "--version")...).CombinedOutput()
			if err != nil || !bytes.Contains(printed, []byte(" "+version+" (")) {
				t.Errorf("the program is not of the image's version %s (%v): %s", version, err, printed)
			}
			// What Airbyte's launcher and its scripts call, and who they run as.
			out := run(t, engine, inContainer(engine, []string{"--entrypoint", "sh"}, image, "-c",
				`id -u && command -v sleep && command -v mv && command -v touch && command -v [ && grep -c BEGIN.CERTIFICATE /etc/ssl/certs/ca-certificates.crt`)...)
			lines := strings.Fields(string(out))
			if len(lines) != 6 || lines[0] != "1000" || len(lines[5]) < 3 {
				t.Errorf("the user, four commands and the number of certificates: %q", lines)
			}
		})
	}
}

// inContainer are the arguments of a container engine: nothing can be written but what is mounted, and
// the network is the host's, where the sandbox is.
func inContainer(engine string, options []string, image string, args ...string) []string {
	all := []string{"run", "--rm", "--read-only", "--network", "host", "--cap-drop", "all", "--security-opt", "no-new-privileges"}
	if filepath.Base(engine) == "podman" { // which adds temporary file systems otherwise
		all = append(all, "--read-only-tmpfs=false")
	}
	return slices.Concat(all, options, []string{image}, args)
}

// The README's pipe with containers.
func TestThePipeOfContainersHoldsWhatTheOracleSays(t *testing.T) {
	engine := containerEngine(t)
	dir := sharedDir(t, engine)
	// The same path inside and outside, so that engines outside find what the tables name.
	mount := dir + ":" + dir
	launch := func(program string, args []string) (string, []string) {
		image := map[string]string{source: sourceImage, destination: destinationImage}[program]
		return engine, inContainer(engine, []string{"-i", "-v", mount}, image, args...)
	}
	m := newMember(t, dir, nil, "--seed", "3")
	if err := os.Chmod(m.config, 0o644); err != nil { // it has secrets, but not from the container's user
		t.Fatal(err)
	}
	c := connect(t, m, newLake(t, dir, nil), protocol.AppendDedup)
	c.launch, c.lake.launch = launch, launch

	c.sync()
	before := m.now()
	m.pass(40 * 24 * time.Hour)
	c.wantChanges(c.sync(), before)
	c.wantTruth(c.previews())
	c.wantReadings()

	owner := run(t, engine, inContainer(engine, []string{"-v", mount, "--entrypoint", "sh"}, destinationImage,
		"-c", "stat -c %u "+filepath.Join(c.lake.dir, "catalog.db"))...)
	if string(owner) != "1000\n" {
		t.Errorf("the tables belong to user %s", owner)
	}
}

// sharedDir is a directory that the containers' user can write to.
func sharedDir(t *testing.T, engine string) string {
	t.Helper()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		// What containers have written need not belong to the user of this test.
		args := inContainer(engine, []string{"-v", dir + ":" + dir, "--entrypoint", "sh"}, destinationImage, "-c", "rm -rf "+dir+"/lake")
		if out, err := exec.Command(engine, args...).CombinedOutput(); err != nil {
			t.Errorf("emptying %s: %v: %s", dir, err, out)
		}
	})
	return dir
}

// A container's process 1 cannot die of its own signal; its exit code says that it did.
func TestStoppedContainerEndsAsIfBySignal(t *testing.T) {
	engine := containerEngine(t)
	dir := sharedDir(t, engine)
	l := newLake(t, dir, map[string]any{"commit": map[string]any{"max_rows": 1}})
	catalog := l.configure("items", itemSchema, []string{"version"}, "id")
	name := "acceptance-" + strconv.Itoa(os.Getpid())
	cmd := exec.CommandContext(t.Context(), engine, inContainer(engine, []string{"-i", "--name", name, "-v", dir + ":" + dir},
		destinationImage, "write", "--config", l.config, "--catalog", catalog)...)
	to, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	from, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := to.Write(withoutStatus(messages("items", `{"id":1,"version":1,"name":"one"}`))); err != nil {
		t.Fatal(err)
	}
	heard := bufio.NewScanner(from)
	for heard.Scan() && !bytes.Contains(heard.Bytes(), []byte(`"type":"STATE"`)) {
	}
	run(t, engine, "kill", "--signal", "TERM", name)
	for heard.Scan() {
	}
	if code := wait(t, cmd); code != 128+15 {
		t.Errorf("exit code %d, want 143", code)
	}
	if rows := l.preview("items"); len(rows) != 1 {
		t.Errorf("%d rows, want 1", len(rows))
	}
}
