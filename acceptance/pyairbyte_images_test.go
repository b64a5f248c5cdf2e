//go:build acceptance

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// PyAirbyte runs both images. It calls the container engine docker, and shares the directory of temporary files with it.
func TestPyAirbyteRunsTheImages(t *testing.T) {
	engine := containerEngine(t)
	dir := sharedDir(t, engine)
	path, err := exec.LookPath(engine)
	if err != nil {
		t.Fatal(err)
	}
	bin := t.TempDir()
	if err := os.Symlink(path, filepath.Join(bin, "docker")); err != nil {
		t.Fatal(err)
	}
	t.Setenv("PATH", bin+":"+os.Getenv("PATH"))

	const inside = "/airbyte/tmp"
	l := newLake(t, dir, map[string]any{"warehouse": "file://" + inside + "/lake"})
	c := connect(t, newMember(t, dir, nil, "--seed", "3"), l, protocol.AppendDedup)
	c.ids = int64(1) // PyAirbyte's, whatever the sync
	l.launch = func(_ string, args []string) (string, []string) {
		return engine, inContainer(engine, []string{"-v", dir + ":" + dir, "-v", dir + ":" + inside}, destinationImage, args...)
	}
	p := pyAirbyteJob{
		Source:       map[string]any{"name": "source-whoop", "docker_image": sourceImage, "use_host_network": true},
		SourceConfig: c.member.config, Cache: filepath.Join(dir, "cache.duckdb"),
		Destination: map[string]any{"name": "destination-iceberg", "docker_image": destinationImage},
		Writes:      []pyAirbyteWrite{{Config: l.config, Strategy: "auto"}},
	}.run(t, dir)
	c.wantPulled(p, time.Time{})
	c.wantTruth(c.previews())
}
