// Command source measures what a sync costs: requests, memory and, when the API
// is not the limit, records per second. It runs bin/source against its own
// sandbox without rate limits, and go test for the last.
//
//	go run ./acceptance/bench/source
package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
)

const program = "bin/source"

var collections = []string{"cycles", "recovery", "sleep", "workout"}

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprintln(table, "source\trequests\tbudget\trecords\tpeak MB\tbudget")
	for _, m := range []struct {
		name       string
		years      int
		drilldowns string
		streams    []string
		again      bool // the sync after the first is measured
		requests   int  // budget; 0: none
	}{
		{"backfill of five years, four collections", 5, "derive", collections, false, 300},
		{"unchanged member, all streams, derive", 5, "derive", nil, true, 12},
		{"unchanged member, all streams, request", 1, "request", nil, true, 80},
		{"fifteen years, all streams", 15, "derive", nil, false, 0},
	} {
		s, err := measure(ctx, m.years, m.drilldowns, m.streams, m.again)
		if err != nil {
			return fmt.Errorf("%s: %w", m.name, err)
		}
		budget := ""
		if m.requests > 0 {
			budget = strconv.Itoa(m.requests)
		}
		fmt.Fprintf(table, "%s\t%d\t%s\t%d\t%d\t40\n", m.name, s.requests, budget, s.records, s.peak>>20)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	speed, err := emitted(ctx)
	if err != nil {
		return fmt.Errorf("measuring how fast records are emitted: %w", err)
	}
	_, err = fmt.Printf("records emitted when the API takes no time: %s a second (budget 200000)\n", speed)
	return err
}

type sample struct {
	requests, records int
	peak              int64 // bytes of resident memory
}

// measure reads a member of some years' history, once or once more.
func measure(ctx context.Context, years int, drilldowns string, streams []string, again bool) (s sample, err error) {
	dir, err := os.MkdirTemp("", "bench")
	if err != nil {
		return s, err
	}
	defer os.RemoveAll(dir) //nolint:errcheck // a temporary directory
	config, catalog := filepath.Join(dir, "config.json"), filepath.Join(dir, "catalog.json")
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sandbox := exec.CommandContext(ctx, program, "sandbox", "--addr", "127.0.0.1:0", "--years", strconv.Itoa(years), "--requests-per-minute", "-1", "--config", config)
	listening, err := sandbox.StdoutPipe()
	if err != nil {
		return s, err
	}
	if err := sandbox.Start(); err != nil {
		return s, err
	}
	defer sandbox.Wait() //nolint:errcheck // it is killed when ctx ends
	defer cancel()
	line, err := bufio.NewReader(listening).ReadString('\n')
	if err != nil {
		return s, fmt.Errorf("starting the sandbox: %w", err)
	}
	url := strings.TrimSpace(strings.TrimPrefix(line, "listening on "))
	if err := set(config, "drilldowns", drilldowns); err != nil {
		return s, err
	}
	configured, err := exec.CommandContext(ctx, program, append([]string{"catalog"}, streams...)...).Output()
	if err != nil {
		return s, fmt.Errorf("making the catalog: %w", err)
	}
	if err := os.WriteFile(catalog, configured, 0o600); err != nil {
		return s, err
	}
	args := []string{"read", "--config", config, "--catalog", catalog}
	if again {
		first, _, err := read(ctx, args)
		if err != nil {
			return s, err
		}
		states := filepath.Join(dir, "states.json")
		if err := os.WriteFile(states, append(append([]byte{'['}, bytes.Join(first.states, []byte{','})...), ']'), 0o600); err != nil {
			return s, err
		}
		args = append(args, "--state", states)
	}
	before, err := requests(ctx, url)
	if err != nil {
		return s, err
	}
	said, peak, err := read(ctx, args)
	if err != nil {
		return s, err
	}
	after, err := requests(ctx, url)
	return sample{after - before, said.records, peak}, err
}

func set(path, key, value string) error {
	raw, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	config := map[string]any{}
	if err := json.Unmarshal(raw, &config); err != nil {
		return err
	}
	config[key] = value
	if raw, err = json.Marshal(config); err != nil {
		return err
	}
	return os.WriteFile(path, raw, 0o600)
}

// said is what is counted of a read's output. The last state of each stream is
// enough for the next read, and all of them do no harm.
type said struct {
	records int
	states  [][]byte
}

func read(ctx context.Context, args []string) (s said, peak int64, err error) {
	cmd := exec.CommandContext(ctx, program, args...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return s, 0, err
	}
	if err := cmd.Start(); err != nil {
		return s, 0, err
	}
	lines := bufio.NewScanner(out)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct {
			Type  string
			State json.RawMessage
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return s, 0, fmt.Errorf("reading the output: %w", err)
		}
		switch m.Type {
		case "RECORD":
			s.records++
		case "STATE":
			s.states = append(s.states, m.State)
		}
	}
	if err := cmd.Wait(); err != nil {
		return s, 0, fmt.Errorf("%s: %w", cmd, err)
	}
	peak = cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS != "darwin" {
		peak <<= 10 // everyone else counts in kilobytes
	}
	return s, peak, lines.Err()
}

// requests is how many the sandbox has had.
func requests(ctx context.Context, url string) (total int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url+"/sandbox/audit", nil)
	if err != nil {
		return 0, err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	var audit struct {
		Requests map[string]int `json:"requests"`
	}
	if err := json.NewDecoder(resp.Body).Decode(&audit); err != nil {
		return 0, fmt.Errorf("reading the sandbox's audit: %w", err)
	}
	for _, n := range audit.Requests {
		total += n
	}
	return total, nil
}

var perSecond = regexp.MustCompile(`([0-9.]+) records/s`)

// emitted runs the benchmark of what lies between an answer and standard output.
func emitted(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, "go", "test", "-run", "^$", "-bench", "^BenchmarkEmit$", "-benchtime", "3s", "./source").CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	found := perSecond.FindSubmatch(out)
	if found == nil {
		return "", fmt.Errorf("no figure in the output:\n%s", out)
	}
	return string(found[1]), nil
}
