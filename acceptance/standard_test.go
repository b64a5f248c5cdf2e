//go:build acceptance

package acceptance

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Airbyte's standard tests of images, on the source with acceptance-test-config.yml, and on the destination with one that
// succeeds and one that fails. The comparison with a published version is left out: there is none.
func TestAirbytesStandardTests(t *testing.T) {
	t.Parallel()
	t.Run("source", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "source-whoop")
		copyFile(t, filepath.Join(repository, "source/metadata.yaml"), filepath.Join(dir, "metadata.yaml"))
		copyFile(t, filepath.Join(repository, "acceptance-test-config.yml"), filepath.Join(dir, "acceptance-test-config.yml"))
		fixtures := "acceptance/fixtures/source"
		if err := os.CopyFS(filepath.Join(dir, fixtures), os.DirFS(filepath.Join(repository, fixtures))); err != nil {
			t.Fatal(err)
		}
		newMember(t, t.TempDir(), nil, acceptedMember...)
		standardTests(t, dir, sourceImage, map[string]string{
			"spec": "PASSED", "check['config' Test Scenario]": "PASSED", "check['invalid_config' Test Scenario]": "PASSED",
			"config_matches_spec['config' Test Scenario]": "PASSED", "config_matches_spec['invalid_config' Test Scenario]": "SKIPPED",
			"discover['config' Test Scenario]": "PASSED", "discover['invalid_config' Test Scenario]": "SKIPPED",
			"read['config' Test Scenario]": "PASSED", "read['invalid_config' Test Scenario]": "SKIPPED",
		})
	})
	t.Run("destination", func(t *testing.T) {
		dir := filepath.Join(t.TempDir(), "destination-iceberg")
		copyFile(t, filepath.Join(repository, "destination/metadata.yaml"), filepath.Join(dir, "metadata.yaml"))
		writeJSON(t, filepath.Join(dir, "config.json"), map[string]any{"warehouse": "file:///tmp/lake"})
		writeJSON(t, filepath.Join(dir, "invalid_config.json"), map[string]any{"warehouse": "file:///proc/lake"})
		config := func(name, status string) any { return map[string]any{"config_path": name, "status": status} }
		writeJSON(t, filepath.Join(dir, "acceptance-test-config.yml"), map[string]any{"acceptance_tests": map[string]any{
			"spec":       map[string]any{"tests": []any{map[string]any{"config_path": "config.json"}}},
			"connection": map[string]any{"tests": []any{config("config.json", "succeed"), config("invalid_config.json", "failed")}},
		}})
		standardTests(t, dir, destinationImage, map[string]string{
			"spec": "PASSED", "check['config' Test Scenario]": "PASSED", "check['invalid_config' Test Scenario]": "PASSED",
			"config_matches_spec['config' Test Scenario]": "PASSED", "config_matches_spec['invalid_config' Test Scenario]": "SKIPPED",
			"discover['config' Test Scenario]": "SKIPPED", "discover['invalid_config' Test Scenario]": "SKIPPED",
			"read['config' Test Scenario]": "SKIPPED", "read['invalid_config' Test Scenario]": "SKIPPED",
		})
	})
}

// standardTests runs them on the image of the connector in dir, and compares their results. They skip what a configuration is
// not listed for.
func standardTests(t *testing.T, dir, image string, want map[string]string) {
	t.Helper()
	copyFile(t, filepath.Join(repository, "acceptance/engines/cdk_standard_tests.py"), filepath.Join(dir, "conftest.py"))
	if err := os.WriteFile(filepath.Join(dir, "test_image.py"), []byte("from conftest import TestImage\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	// The tests call docker, and give containers no way to the sandbox.
	bin := t.TempDir()
	docker := fmt.Sprintf("#!/bin/sh\n[ \"$1\" != run ] || { shift; set -- run --network host \"$@\"; }\nexec %s \"$@\"\n", containerEngine(t))
	if err := os.WriteFile(filepath.Join(bin, "docker"), []byte(docker), 0o755); err != nil {
		t.Fatal(err)
	}
	outside := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the standard tests ask for %s %s", r.Method, r.URL)
		w.WriteHeader(http.StatusForbidden)
	}))
	defer outside.Close()
	cmd := exec.CommandContext(t.Context(), filepath.Join(repository, ".cache/cdk/bin/python"), "-m", "pytest", "-p", "no:cacheprovider", "-v",
		"-k", "not backward_compatibility", "--connector-image", image, "--read-from-streams", "all")
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+bin+":"+os.Getenv("PATH"), "TMPDIR="+t.TempDir(), "HTTP_PROXY="+outside.URL, "HTTPS_PROXY="+outside.URL)
	out, err := cmd.CombinedOutput()
	got := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)::test_docker_image_build_and_(.*?) ([A-Z]+) +\[`).FindAllSubmatch(out, -1) {
		got[string(m[1])] = string(m[2])
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("results (-want +got), %v:\n%s\n%s", err, diff, last(out, 6000))
	}
}
