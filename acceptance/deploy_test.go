//go:build acceptance

package acceptance

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"gopkg.in/yaml.v3"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Where the files of deploy/ expect things to be.
const (
	syncScript       = "/usr/local/lib/whoop-iceberg/sync.sh"
	exampleDirectory = "/etc/whoop-iceberg/alice"
)

// What deploy/ has for each scheduler, run twice as that scheduler would run it.
func TestScheduledSyncsHoldWhatTheOracleSays(t *testing.T) {
	t.Parallel()
	for scheduler, syncOnce := range map[string]func(t *testing.T, directory string) error{
		"cron":       func(t *testing.T, directory string) error { return shell(t, deployed("sync.sh")+" "+directory) },
		"PATH":       syncByNames,
		"systemd":    syncBySystemd,
		"airflow":    syncByAirflow,
		"kestra":     syncByKestra,
		"kubernetes": syncByKubernetes,
		"compose":    syncByCompose,
	} {
		t.Run(scheduler, func(t *testing.T) {
			directory := t.TempDir()
			inContainers := scheduler == "kubernetes" || scheduler == "compose"
			if inContainers {
				directory = sharedDir(t, containerEngine(t))
			}
			tokens := filepath.Join(directory, "tokens.json")
			m := newMember(t, directory, nil, "--seed", "3", "--token-file", tokens)
			c := connect(t, m, newLake(t, directory, nil), protocol.AppendDedup)
			if inContainers {
				letContainersRead(t, m.config, tokens)
			}
			for range 2 {
				if err := syncOnce(t, directory); err != nil {
					t.Fatal(err)
				}
				c.wantTruth(c.previews())
				m.pass(20 * 24 * time.Hour)
			}
			if n := m.spentReplays(); n != 0 {
				t.Errorf("%d refresh tokens were sent twice", n)
			}
		})
	}
}

// A sync whose source or destination fails is a failure, which every scheduler reports.
func TestAScheduledSyncFailsWhenItsProgramsDo(t *testing.T) {
	for name, lost := range map[string]string{"source": "source.json", "destination": "destination.json"} {
		t.Run(name, func(t *testing.T) {
			directory := t.TempDir()
			m := newMember(t, directory, nil, "--seed", "3")
			connect(t, m, newLake(t, directory, nil), protocol.AppendDedup)
			if err := os.WriteFile(filepath.Join(directory, lost), []byte("{}"), 0o600); err != nil {
				t.Fatal(err)
			}
			if err := shell(t, deployed("sync.sh")+" "+directory); err == nil {
				t.Error("sync.sh succeeded")
			}
			if left, _ := filepath.Glob(filepath.Join(directory, ".state.*")); len(left) != 0 {
				t.Errorf("it left %q", left)
			}
		})
	}
}

// What is missing is said in a sentence.
func TestAScheduledSyncSaysWhatIsMissing(t *testing.T) {
	directory := t.TempDir()
	for _, file := range []string{"catalog.json", "source.json", "destination.json"} {
		cmd := exec.CommandContext(t.Context(), deployed("sync.sh"), directory)
		cmd.Env = append(os.Environ(), "SOURCE="+source, "DESTINATION="+destination)
		out, err := cmd.CombinedOutput()
		if want := fmt.Sprintf("sync.sh: %s/%s is missing", directory, file); err == nil || !strings.HasPrefix(string(out), want) {
			t.Errorf("%v: %s, want %s", err, out, want)
		}
		if err := os.WriteFile(filepath.Join(directory, file), []byte("{}"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), deployed("sync.sh"), directory)
	cmd.Env = append(os.Environ(), "SOURCE=source-of-nobody")
	if out, err := cmd.CombinedOutput(); err == nil || !bytes.HasPrefix(out, []byte("sync.sh: there is no program source-of-nobody: ")) {
		t.Errorf("%v: %s", err, out)
	}
}

// A sync of a connection that is already running is left out.
func TestOneSyncOfAConnectionRunsAtATime(t *testing.T) {
	directory := t.TempDir()
	catalog, err := os.Create(filepath.Join(directory, "catalog.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer catalog.Close()
	if err := syscall.Flock(int(catalog.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), deployed("sync.sh"), directory) // which would fail without configurations
	cmd.Env = append(os.Environ(), "SOURCE="+source, "DESTINATION="+destination)
	out, err := cmd.CombinedOutput()
	if err != nil || !bytes.Contains(out, []byte("another sync of "+directory+" is running")) {
		t.Errorf("%v: %s", err, out)
	}
}

func TestManifestsAreValid(t *testing.T) {
	schemas := kubernetesSchemas(t)
	cmd := exec.CommandContext(t.Context(), filepath.Join(repository, ".cache/bin/kubeconform"), "-strict", "-summary",
		"-schema-location", schemas+"/{{ .ResourceKind }}{{ .KindSuffix }}.json")
	cmd.Stdin = bytes.NewReader(manifests(t))
	if out, err := cmd.CombinedOutput(); err != nil || !bytes.Contains(out, []byte("Valid: 3, Invalid: 0, Errors: 0, Skipped: 0")) {
		t.Errorf("%v: %s", err, out)
	}
}

// letContainersRead gives files to the containers' user, as a mounted secret does.
func letContainersRead(t *testing.T, files ...string) {
	t.Helper()
	for _, file := range files {
		if err := os.Chown(file, 1000, 1000); err != nil && os.Geteuid() == 0 {
			t.Fatal(err)
		}
	}
}

func deployed(name string) string { return filepath.Join(repository, "deploy", name) }

// shell runs a command line with the programs under test.
func shell(t *testing.T, line string) error {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "/bin/bash", "-c", line)
	cmd.Env = append(os.Environ(), "SOURCE="+source, "DESTINATION="+destination)
	_, err := finish(cmd)
	return err
}

// syncByNames has the programs on PATH, where source is a command of the shell, too.
func syncByNames(t *testing.T, directory string) error {
	t.Helper()
	bin := t.TempDir()
	for name, program := range map[string]string{"source": source, "destination": destination} {
		if err := os.Symlink(program, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.CommandContext(t.Context(), deployed("sync.sh"), directory)
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"))
	_, err := finish(cmd)
	return err
}

func syncBySystemd(t *testing.T, directory string) error {
	dir := t.TempDir()
	for _, kind := range []string{"service", "timer"} {
		unit, err := os.ReadFile(deployed("systemd/whoop-iceberg@." + kind))
		if err != nil {
			return err
		}
		unit = bytes.ReplaceAll(unit, []byte(syncScript), []byte(deployed("sync.sh")))
		path := filepath.Join(dir, "whoop-iceberg@alice."+kind)
		if err := os.WriteFile(path, unit, 0o600); err != nil {
			return err
		}
		if out, err := exec.CommandContext(t.Context(), "systemd-analyze", "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
			return fmt.Errorf("systemd-analyze, of the package systemd: %w: %s", err, out)
		}
		if command := regexp.MustCompile(`(?m)^ExecStart=(.*)$`).FindSubmatch(unit); command != nil {
			line := strings.ReplaceAll(string(command[1]), "/etc/whoop-iceberg/%i", directory)
			if err := shell(t, line); err != nil {
				return err
			}
		}
	}
	return nil
}

func syncByAirflow(t *testing.T, directory string) error {
	connections := filepath.Dir(directory)
	airflow := func(args ...string) error {
		cmd := exec.CommandContext(t.Context(), filepath.Join(repository, ".cache/airflow/bin/airflow"), args...)
		cmd.Env = append(os.Environ(), "AIRFLOW_HOME="+filepath.Join(connections, "airflow"), "AIRFLOW__CORE__LOAD_EXAMPLES=False",
			"AIRFLOW__CORE__DAGS_FOLDER="+deployed("airflow"), "WHOOP_ICEBERG_CONNECTIONS="+connections, "WHOOP_ICEBERG_SYNC="+deployed("sync.sh"),
			"SOURCE="+source, "DESTINATION="+destination)
		_, err := finish(cmd)
		return err
	}
	for _, args := range [][]string{{"db", "migrate"}, {"dags", "reserialize"}, {"dags", "test", "whoop_to_iceberg_" + filepath.Base(directory)}} {
		if err := airflow(args...); err != nil {
			return err
		}
	}
	return nil
}

func syncByKestra(t *testing.T, directory string) error {
	text, err := os.ReadFile(deployed("kestra/whoop_to_iceberg.yaml"))
	if err != nil {
		return err
	}
	var flow struct {
		Tasks []struct{ Commands []string }
	}
	if err := yaml.Unmarshal(text, &flow); err != nil {
		return err
	}
	if len(flow.Tasks) != 1 || len(flow.Tasks[0].Commands) != 1 {
		return fmt.Errorf("the flow has other tasks: %+v", flow)
	}
	return shell(t, strings.NewReplacer(syncScript, deployed("sync.sh"), exampleDirectory, directory).Replace(flow.Tasks[0].Commands[0]))
}

// container is one of a pod.
type container struct {
	Name, Image   string
	Command, Args []string
	VolumeMounts  []struct {
		Name      string
		MountPath string `yaml:"mountPath"`
		ReadOnly  bool   `yaml:"readOnly"`
	} `yaml:"volumeMounts"`
}

// syncByKubernetes runs the containers of the CronJob's pod in the order in which Kubernetes does.
func syncByKubernetes(t *testing.T, directory string) error {
	engine := containerEngine(t)
	var pod struct {
		InitContainers []container `yaml:"initContainers"`
		Containers     []container
	}
	decoder := yaml.NewDecoder(bytes.NewReader(manifests(t)))
	for {
		var object struct {
			Kind string
			Spec struct {
				JobTemplate struct {
					Spec struct{ Template struct{ Spec yaml.Node } }
				} `yaml:"jobTemplate"`
			}
		}
		err := decoder.Decode(&object)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
		if object.Kind == "CronJob" {
			if err := object.Spec.JobTemplate.Spec.Template.Spec.Decode(&pod); err != nil {
				return err
			}
		}
	}
	if len(pod.InitContainers) != 1 || len(pod.Containers) != 2 {
		return fmt.Errorf("another pod: %+v", pod)
	}
	volumes := map[string]string{"connection": directory, "pipe": sharedDir(t, engine), "tmp": sharedDir(t, engine)}
	start := func(ctx context.Context, c container) error {
		// The configurations name files of this machine.
		options := []string{"-v", directory + ":" + directory, "--entrypoint", c.Command[0]}
		for _, mount := range c.VolumeMounts {
			volume := volumes[mount.Name] + ":" + mount.MountPath
			if mount.ReadOnly {
				volume += ":ro"
			}
			options = append(options, "-v", volume)
		}
		name := strings.TrimSuffix(filepath.Base(c.Image), ":1.0") + ":latest"
		_, err := output(ctx, engine, inContainer(engine, options, name, slices.Concat(c.Command[1:], c.Args)...)...)
		return err
	}
	if err := start(t.Context(), pod.InitContainers[0]); err != nil {
		return err
	}
	group, ctx := errgroup.WithContext(t.Context())
	for _, c := range pod.Containers {
		group.Go(func() error { return start(ctx, c) })
	}
	return group.Wait()
}

// A composeService is what the tests need of a service in compose.yaml.
type composeService struct {
	Image       string
	Environment map[string]string
	Entrypoint  []string
	Command     []string
}

// script is the service's command, as Compose gives it to the shell.
func (s composeService) script() string { return strings.ReplaceAll(s.Command[0], "$$", "$") }

func composeServices(t *testing.T) map[string]composeService {
	t.Helper()
	text, err := os.ReadFile(deployed("compose/compose.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	var file struct{ Services map[string]composeService }
	if err := yaml.Unmarshal(text, &file); err != nil {
		t.Fatal(err)
	}
	if len(file.Services) != 2 {
		t.Fatalf("other services: %+v", file.Services)
	}
	return file.Services
}

// syncByCompose runs the services of the first night, with a new volume for the pipe.
func syncByCompose(t *testing.T, directory string) error {
	engine := containerEngine(t)
	pipe := sharedDir(t, engine)
	group, ctx := errgroup.WithContext(t.Context())
	for _, service := range composeServices(t) {
		options := []string{
			"-v", directory + ":/connection", "-v", directory + ":" + directory, // the configurations name files of this machine
			"-v", pipe + ":/pipe", "-v", sharedDir(t, engine) + ":/tmp", "--entrypoint", service.Entrypoint[0],
		}
		for name, value := range service.Environment {
			options = append(options, "-e", name+"="+value)
		}
		group.Go(func() error {
			_, err := output(ctx, engine, inContainer(engine, options, service.Image+":latest", append(service.Entrypoint[1:], service.script())...)...)
			return err
		})
	}
	return group.Wait()
}

// A source that is killed before the destination reads leaves the state for the next one. Otherwise that would wait for a
// state, and the destination for messages, for ever.
func TestAComposedSourceTakesTheStateWhenItIsRead(t *testing.T) {
	dir := t.TempDir()
	messages, state := filepath.Join(dir, "messages"), filepath.Join(dir, "state")
	if err := errors.Join(syscall.Mkfifo(messages, 0o600), os.WriteFile(state, []byte("[]"), 0o600)); err != nil {
		t.Fatal(err)
	}
	script := strings.ReplaceAll(composeServices(t)["source"].script(), "cd /pipe", "cd "+dir)
	start := func() *exec.Cmd {
		cmd := exec.CommandContext(t.Context(), "sh", "-c", strings.ReplaceAll(script, "/airbyte/source read", "echo read"))
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	killed := start()
	time.Sleep(time.Second) // in which it could take the state
	if err := killed.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = killed.Wait() // it was killed
	if _, err := os.Stat(state); err != nil {
		t.Fatal(err)
	}
	next := start()
	said, err := os.ReadFile(messages)
	if err != nil || !strings.HasPrefix(string(said), "read --config ") {
		t.Errorf("it says %q, %v", said, err)
	}
	if err := next.Wait(); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(state); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the state was not taken: %v", err)
	}
}

// manifests are those of the example, with the catalog that its user makes.
func manifests(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	if err := os.CopyFS(dir, os.DirFS(deployed("kubernetes"))); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "example/catalog.json"), run(t, source, "catalog"), 0o600); err != nil {
		t.Fatal(err)
	}
	return run(t, filepath.Join(repository, ".cache/bin/kustomize"), "build", filepath.Join(dir, "example"))
}

// kubernetesSchemas makes a directory of the schemas that a package of PyPI carries, each with all that it refers to.
func kubernetesSchemas(t *testing.T) string {
	t.Helper()
	found, err := filepath.Glob(filepath.Join(repository, ".cache/kubernetes/lib/*/site-packages/kubernetes_validate/kubernetes-json-schema/v1.35.0-local-strict"))
	if err != nil || len(found) != 1 {
		t.Fatalf("the schemas of Kubernetes are not installed (%v): run make engines", err)
	}
	dir := t.TempDir()
	read := func(name string) (schema map[string]json.RawMessage) {
		text, err := os.ReadFile(filepath.Join(found[0], name))
		if err != nil {
			t.Fatal(err)
		}
		unmarshal(t, bytes.ReplaceAll(text, []byte("/api/_definitions.json#"), []byte("#")), &schema)
		return schema
	}
	definitions := read("_definitions.json")["$defs"]
	for _, name := range []string{"cronjob-batch-v1.json", "secret-v1.json", "serviceaccount-v1.json"} {
		schema := read(name)
		schema["$defs"] = definitions
		writeJSON(t, filepath.Join(dir, name), schema)
	}
	return dir
}
