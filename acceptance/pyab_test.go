//go:build acceptance

package acceptance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// PyAirbyte writes what a foreign source emits, without its cache, twice in each of its strategies. Both engines read the
// values that the source has written.
func TestPyAirbyteWritesAForeignSourceInEachStrategy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	faker := foreignProgram(t, "source-faker")
	// PyAirbyte runs this program, which keeps what the source writes.
	program := filepath.Join(dir, "source-faker")
	script := `#!/bin/sh
[ "$1" = read ] || exec %[1]s "$@"
n=$(ls %[2]s | grep -c read)
%[1]s "$@" | tee %[2]s/read.$n
`
	if err := os.WriteFile(program, fmt.Appendf(nil, script, faker, dir), 0o755); err != nil {
		t.Fatal(err)
	}
	configs := make([]string, 2) // of the first write and of the second
	for i := range configs {
		configs[i] = filepath.Join(dir, fmt.Sprintf("source%d.json", i))
		writeJSON(t, configs[i], map[string]any{"count": 50 + 10*i, "seed": i, "parallelism": 1, "always_updated": true})
	}
	job := pyAirbyteJob{
		Source: map[string]any{"name": "source-faker", "local_executable": program}, SourceConfig: configs[0], Destination: localDestination(),
	}
	strategies := []string{"append", "merge", "replace", "auto"}
	lakes := make([]*lake, len(strategies))
	for i, strategy := range strategies {
		lakes[i] = newLake(t, t.TempDir(), nil)
		for _, config := range configs {
			job.Writes = append(job.Writes, pyAirbyteWrite{SourceConfig: config, Config: lakes[i].config, Strategy: strategy})
		}
	}
	job.run(t, dir)
	for i, strategy := range strategies {
		t.Run(strategy, func(t *testing.T) {
			f := &foreignSource{}
			f.addStreams(t, faker, "--config", configs[0])
			for read := range configs {
				output, err := os.ReadFile(filepath.Join(dir, fmt.Sprintf("read.%d", len(configs)*i+read)))
				if err != nil {
					t.Fatal(err)
				}
				f.hear(t, output)
			}
			f.wantTables(t, lakes[i], strategy, 1)
		})
	}
}

// PyAirbyte's own scenarios for destinations, all of them, twice.
func TestPyAirbytesSmokeTests(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	l := newLake(t, dir, nil)
	smoke := []string{
		"destination-smoke-test", "--destination", namedAs(t, dir, "destination-iceberg", destination), "--config", l.config,
		"--reuse-namespace", "smoke", "--scenarios",
	}
	for _, args := range [][]string{append(smoke, "fast"), append(smoke, "all", "--skip-preflight")} { // the second time, there are tables
		out, err := finish(pyAirbyte(t, dir, "pyab", args...))
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Contains(out, []byte(`"success": true`)) {
			t.Errorf("it says %s", last(out, 4000))
		}
	}
	config := filepath.Join(dir, "smoke.json")
	writeJSON(t, config, map[string]any{"all_fast_streams": true, "all_slow_streams": true, "namespace": "smoke"})
	catalog := filepath.Join(dir, "smoke.catalog.json")
	f := &foreignSource{undated: true}
	program := filepath.Join(repository, ".cache/pyairbyte/bin/source-smoke-test")
	f.addStreams(t, program, "--config", config)
	writeJSON(t, catalog, f.catalog("append"))
	f.hear(t, run(t, program, "read", "--config", config, "--catalog", catalog)) // it sends no states
	if len(f.streams) != 22 {
		t.Errorf("there are %d scenarios", len(f.streams))
	}
	f.wantTables(t, l, "auto", 1)
}

// pyab validate is content with both programs.
func TestPyAirbyteValidatesThePrograms(t *testing.T) {
	dir := t.TempDir()
	m := newMember(t, dir, nil)
	l := newLake(t, dir, nil)
	for program, config := range map[string]string{
		namedAs(t, dir, "source-whoop", source):             m.config,
		namedAs(t, dir, "destination-iceberg", destination): l.config,
	} {
		if _, err := finish(pyAirbyte(t, dir, "pyab", "validate", "--connector", program, "--config", config)); err != nil {
			t.Error(err)
		}
	}
}

// namedAs is a program under the name by which PyAirbyte tells sources from destinations.
func namedAs(t *testing.T, dir, name, program string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	if err := os.Symlink(program, path); err != nil {
		t.Fatal(err)
	}
	return path
}
