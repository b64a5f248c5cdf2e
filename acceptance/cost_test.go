//go:build acceptance

package acceptance

import (
	"encoding/json"
	"io/fs"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
)

// costs is what syncs of a fixed input took when ACCEPTANCE_RECORD_COSTS=1 last wrote it.
const costs = "fixtures/costs.json"

// A cost is what a sync takes, apart from time.
type cost struct {
	Instructions int64 // as callgrind counts them
	PeakBytes    int64 // of resident memory
	Bytes        int64 // of data files
}

// What a sync costs beside time stays within 10 % of what was recorded, and within 20 % for
// memory. Whoever makes it less records the new figures. Instructions are those of one processor
// without collections of garbage and without preemption, and so the same within half a percent
// each time. When garbage is collected depends on time: the peak of a run is up to a quarter
// higher than that of the next, so the least of some runs counts.
func TestCostsOfASync(t *testing.T) {
	valgrind, err := exec.LookPath("valgrind")
	if err != nil {
		t.Log("valgrind is not installed, so instructions are not counted")
	}
	dir := t.TempDir()
	gen := filepath.Join(dir, "gen")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", gen, "./acceptance/bench/gen")
	build.Dir = repository
	if _, err := finish(build); err != nil {
		t.Fatal(err)
	}
	got := map[string]cost{}
	for kind, records := range map[string]string{"sleep": "100000", "wide": "100000", "text": "10000"} {
		if err := os.Mkdir(filepath.Join(dir, kind), 0o700); err != nil {
			t.Fatal(err)
		}
		l := newLake(t, filepath.Join(dir, kind), nil)
		got[kind] = cost{
			Instructions: l.instructions(valgrind, gen, kind),
			PeakBytes:    l.peakOf(gen, kind, records),
			Bytes:        l.dataBytes(),
		}
	}
	recorded := map[string]cost{}
	if os.Getenv("ACCEPTANCE_RECORD_COSTS") != "" {
		text, err := json.MarshalIndent(got, "", "  ")
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(costs, append(text, '\n'), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	text, err := os.ReadFile(costs)
	if err != nil {
		t.Fatal(err)
	}
	unmarshal(t, text, &recorded)
	for kind, now := range got {
		before := recorded[kind]
		if valgrind != "" && !near(now.Instructions, before.Instructions) {
			t.Errorf("%s: %d instructions, recorded are %d", kind, now.Instructions, before.Instructions)
		}
		if !near(now.Bytes, before.Bytes) {
			t.Errorf("%s: %d bytes of data files, recorded are %d", kind, now.Bytes, before.Bytes)
		}
		if most := before.PeakBytes + before.PeakBytes/5; now.PeakBytes > most {
			t.Errorf("%s: %d bytes of memory at the peak, recorded are %d", kind, now.PeakBytes, before.PeakBytes)
		}
	}
	if t.Failed() {
		t.Log("if that is meant, ACCEPTANCE_RECORD_COSTS=1 records it in acceptance/" + costs)
	}
}

// near reports whether a figure is within 10 % of the recorded one.
func near(now, recorded int64) bool {
	return now <= recorded+recorded/10 && now >= recorded-recorded/10
}

// written is a file with an input of gen, and the arguments that write it.
func (l *lake) written(gen, kind, records string) (input string, args []string) {
	l.t.Helper()
	input, catalog := l.config+".input", l.config+".catalog"
	for path, content := range map[string][]byte{
		input:   run(l.t, gen, "-kind", kind, "-n", records),
		catalog: run(l.t, gen, "-kind", kind, "-catalog", "-mode", "append"),
	} {
		if err := os.WriteFile(path, content, 0o600); err != nil {
			l.t.Fatal(err)
		}
	}
	return input, []string{"write", "--config", l.config, "--catalog", catalog}
}

// feed runs a program on one processor with a file as its input, and returns what it writes
// on both outputs.
func (l *lake) feed(input string, environment []string, program string, args ...string) string {
	l.t.Helper()
	stdin, err := os.Open(input)
	if err != nil {
		l.t.Fatal(err)
	}
	defer stdin.Close()
	cmd := exec.CommandContext(l.t.Context(), program, args...)
	cmd.Stdin, cmd.Env = stdin, append(append(os.Environ(), "GOMAXPROCS=1"), environment...)
	out, err := cmd.CombinedOutput()
	if err != nil {
		l.t.Fatalf("%s: %v\n%s", cmd, err, last(out, 4000))
	}
	return string(out)
}

var instructionsCounted = regexp.MustCompile(`I +refs: +([0-9,]+)`)

// instructions counts those of a sync of a few records; 0 without valgrind.
func (l *lake) instructions(valgrind, gen, kind string) int64 {
	l.t.Helper()
	if valgrind == "" {
		return 0
	}
	input, args := l.written(gen, kind, map[bool]string{true: "500", false: "5000"}[kind == "text"])
	out := l.feed(input, []string{"GOGC=off", "GODEBUG=asyncpreemptoff=1"},
		valgrind, append([]string{"--tool=callgrind", "--callgrind-out-file=/dev/null", destination}, args...)...)
	found := instructionsCounted.FindStringSubmatch(out)
	if found == nil {
		l.t.Fatalf("valgrind counts no instructions:\n%s", last([]byte(out), 4000))
	}
	n, err := strconv.ParseInt(strings.ReplaceAll(found[1], ",", ""), 10, 64)
	if err != nil {
		l.t.Fatal(err)
	}
	return n
}

// peakOf is the most memory that a sync takes, in the best of three runs.
func (l *lake) peakOf(gen, kind, records string) int64 {
	l.t.Helper()
	input, args := l.written(gen, kind, records)
	least := int64(math.MaxInt64)
	for range 3 {
		if err := os.RemoveAll(l.dir); err != nil {
			l.t.Fatal(err)
		}
		out := l.feed(input, []string{"GOGC=100"}, python, append([]string{filepath.Join(repository, "acceptance/engines/peak.py"), destination}, args...)...)
		var took struct{ Peak int64 }
		unmarshal(l.t, []byte(out[strings.LastIndex(strings.TrimSpace(out), "\n")+1:]), &took)
		least = min(least, took.Peak)
	}
	return least
}

// dataBytes is the size of all data files.
func (l *lake) dataBytes() (size int64) {
	l.t.Helper()
	err := filepath.WalkDir(l.dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".parquet" {
			return err
		}
		info, err := d.Info()
		size += info.Size()
		return err
	})
	if err != nil {
		l.t.Fatal(err)
	}
	return size
}
