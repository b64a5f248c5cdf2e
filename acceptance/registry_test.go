//go:build acceptance

package acceptance

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// The metadata of both connectors are of the form that Airbyte's registry takes, and the model that says so finds mistakes.
func TestAirbytesRegistryTakesTheMetadata(t *testing.T) {
	validate := func(path string) error {
		_, err := finish(exec.CommandContext(t.Context(), filepath.Join(repository, ".cache/cdk/bin/python"), filepath.Join(repository, "acceptance/engines/metadata.py"), path))
		return err
	}
	for _, connector := range []string{"source", "destination"} {
		path := filepath.Join(repository, connector, "metadata.yaml")
		if err := validate(path); err != nil {
			t.Error(err)
		}
		mistaken := filepath.Join(t.TempDir(), "metadata.yaml")
		if err := os.WriteFile(mistaken, []byte(strings.Replace(text(t, connector+"/metadata.yaml"), "  icon:", "  ikon:", 1)), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := validate(mistaken); err == nil || !strings.Contains(err.Error(), "data.ikon") {
			t.Errorf("a key that the registry does not know: %v", err)
		}
	}
}
