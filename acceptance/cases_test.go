//go:build acceptance

package acceptance

import (
	"bytes"
	"errors"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/destinationtest"
)

// The scripts that show each of Airbyte's cases run once more, with the built program. After every
// write PyIceberg and DuckDB must see what our own reader shows, in every table of the catalog.
func TestEnginesReadEveryCase(t *testing.T) {
	t.Parallel()
	scripts := filepath.Join(repository, "destination/testdata/script")
	r := newReadback(t)
	t.Run("scripts", func(t *testing.T) {
		destinationtest.Scripts(t, scripts, runDestination, r.look)
	})
	paths, err := filepath.Glob(filepath.Join(scripts, "*.txtar"))
	if err != nil {
		t.Fatal(err)
	}
	var unread []string
	for _, path := range paths {
		if name := strings.TrimSuffix(filepath.Base(path), ".txtar"); r.read[name] == 0 {
			unread = append(unread, name)
		}
	}
	// What is refused before a table is made.
	if diff := cmp.Diff([]string{"check_fails", "usage"}, unread); diff != "" {
		t.Errorf("scripts of which no table was read (-want +got):\n%s", diff)
	}
	t.Logf("tables read after writes: %v", r.read)
}

// runDestination runs the built program.
func runDestination(args []string, stdin []byte) (_, _ []byte, code int) {
	cmd := exec.Command(destination, args...)
	cmd.Args[0] = "destination" // its usage shows it
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil && !errors.As(err, new(*exec.ExitError)) {
		return nil, []byte(err.Error()), -1
	}
	return stdout.Bytes(), stderr.Bytes(), cmd.ProcessState.ExitCode()
}
