// Command memory measures the peak memory of `destination write` for inputs
// that could take a lot of it, as the operating system counts it, and fails
// when one takes more than memory_mebibytes allows.
//
//	go run ./acceptance/bench/memory
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"
)

// An input is what ./acceptance/bench/gen makes with these arguments.
type input struct {
	name       string
	mode       string // destination_sync_mode
	limit      int64  // memory_mebibytes
	records    int
	streams    int
	args       []string
	partitions int  // of the table, whose rows are then all of one commit; 0: it has none
	cores      int  // GOMAXPROCS of the process; 0: as many as the machine has
	refresh    bool // the rows take the place of a few of an older generation
}

const (
	usual = 512 // memory_mebibytes by default
	least = 256 // and at least
)

var inputs = []input{
	{name: "100 streams by turns", mode: "append_dedup", limit: usual, records: 2_000_000, streams: 100, args: []string{"-kind", "sleep"}},
	{name: "100 streams by turns", mode: "append_dedup", limit: least, records: 2_000_000, streams: 100, args: []string{"-kind", "sleep"}},
	{name: "100 streams in sequence", mode: "append_dedup", limit: usual, records: 2_000_000, streams: 100, args: []string{"-kind", "sleep", "-turn", "20000"}},
	{name: "100 streams in sequence", mode: "append_dedup", limit: least, records: 2_000_000, streams: 100, args: []string{"-kind", "sleep", "-turn", "20000"}},
	{name: "1,000 streams by turns", mode: "append_dedup", limit: usual, records: 2_000_000, streams: 1000, args: []string{"-kind", "sleep"}},
	{name: "one stream", mode: "append", limit: usual, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep"}},
	{name: "one stream", mode: "append_dedup", limit: usual, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep", "-dup", "10"}},
	{name: "one stream", mode: "append_dedup", limit: least, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep", "-dup", "10"}},
	{name: "one stream of long texts", mode: "append", limit: usual, records: 300_000, streams: 1, args: []string{"-kind", "text"}},
	{name: "1,000 partitions", mode: "append", limit: usual, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep"}, partitions: 1000},
	{name: "5,000 partitions", mode: "append", limit: usual, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep"}, partitions: 5000},
	{name: "5,000 partitions", mode: "append", limit: least, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep"}, partitions: 5000},
	{name: "one stream on 2 cores", mode: "append_dedup", limit: usual, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep", "-dup", "10"}, cores: 2},
	{name: "one stream on 16 cores", mode: "append_dedup", limit: usual, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep", "-dup", "10"}, cores: 16},
	{name: "one stream on 64 cores", mode: "append_dedup", limit: usual, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep", "-dup", "10"}, cores: 64},
	{name: "one stream on 64 cores", mode: "append_dedup", limit: least, records: 2_000_000, streams: 1, args: []string{"-kind", "sleep", "-dup", "10"}, cores: 64},
	{name: "one state at the end", mode: "append_dedup", limit: usual, records: 20_000_000, streams: 1, args: stateless},
	{name: "the same on 64 cores", mode: "append_dedup", limit: usual, records: 20_000_000, streams: 1, args: stateless, cores: 64},
	{name: "a refresh with one state at the end", mode: "append_dedup", limit: usual, records: 20_000_000, streams: 1, args: stateless, refresh: true},
}

// stateless makes a stream with no state but that at its end.
var stateless = []string{"-kind", "sleep", "-dup", "10", "-state", "1000000000"}

func main() {
	log.SetFlags(0)
	log.SetPrefix("memory: ")
	if err := run(context.Background()); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context) (err error) {
	dir, err := os.MkdirTemp("", "bench-memory-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, program := range []string{"./destination", "./acceptance/bench/gen"} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-tags", "minicore_disabled,grpcnotrace", "-o", dir+"/bin/", program).CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", program, err, out)
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "input\tmode\tMiB\trecords\tpeak MiB\tmemory_mebibytes\trecords/s\t")
	var over []error
	for _, in := range inputs {
		m, err := in.measure(ctx, dir)
		if err != nil {
			return fmt.Errorf("writing %s: %w", in.name, err)
		}
		fmt.Fprintf(table, "%s\t%s\t%d\t%d\t%d\t%d\t%.0f\t\n", in.name, in.mode, m.bytes>>20, in.records, m.peak>>20, in.limit, float64(in.records)/m.took.Seconds())
		if m.peak > in.limit<<20 {
			over = append(over, fmt.Errorf("%s in mode %s took %d MiB, and memory_mebibytes is %d", in.name, in.mode, m.peak>>20, in.limit))
		}
	}
	return errors.Join(append(over, table.Flush())...)
}

type measured struct {
	bytes, peak int64
	took        time.Duration
}

// measure pipes the input into an empty warehouse and checks that every state
// comes back.
func (in input) measure(ctx context.Context, dir string) (measured, error) {
	var m measured
	lake := filepath.Join(dir, "lake")
	if err := os.RemoveAll(lake); err != nil {
		return m, err
	}
	settings := map[string]any{"warehouse": "file://" + lake, "namespace": "bench", "memory_mebibytes": in.limit}
	if in.partitions > 0 {
		settings["streams"] = []any{map[string]any{"name": "sleep", "partition_by": []string{fmt.Sprintf("bucket(%d, id)", in.partitions)}}}
		settings["commit"] = map[string]any{"max_rows": 1_000_000_000, "max_mebibytes": 1 << 20, "max_seconds": 86400}
		settings["maintenance"] = map[string]any{"on_write": false}
	}
	if in.refresh {
		settings["completion"] = "eof" // there are no statuses
	}
	config, err := json.Marshal(settings)
	if err != nil {
		return m, err
	}
	args := append([]string{"-streams", strconv.Itoa(in.streams), "-n", strconv.Itoa(in.records)}, in.args...)
	catalog, err := exec.CommandContext(ctx, dir+"/bin/gen", append(args, "-catalog", "-mode", in.mode)...).Output()
	if err != nil {
		return m, fmt.Errorf("making the catalog: %w", err)
	}
	for name, content := range map[string][]byte{"config.json": config, "catalog.json": catalog} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			return m, err
		}
	}
	if in.refresh {
		if err := in.writeOlder(ctx, dir, catalog); err != nil {
			return m, fmt.Errorf("writing the older generation: %w", err)
		}
	}
	gen := exec.CommandContext(ctx, dir+"/bin/gen", args...)
	messages, err := gen.StdoutPipe()
	if err != nil {
		return m, err
	}
	gen.Stderr = os.Stderr
	write := exec.CommandContext(ctx, dir+"/bin/destination", "write", "--config", dir+"/config.json", "--catalog", dir+"/catalog.json")
	if in.cores > 0 {
		write.Env = append(os.Environ(), "GOMAXPROCS="+strconv.Itoa(in.cores))
	}
	var out bytes.Buffer
	states := 0
	write.Stdin, write.Stdout = io.TeeReader(messages, counter(func(b []byte) {
		m.bytes += int64(len(b))
		states += bytes.Count(b, []byte("\n{\"type\":\"STATE\""))
	})), &out
	start := time.Now()
	if err := gen.Start(); err != nil {
		return m, err
	}
	if err := write.Run(); err != nil {
		return m, fmt.Errorf("%w\n%s", err, out.Bytes())
	}
	m.took = time.Since(start)
	if err := gen.Wait(); err != nil {
		return m, fmt.Errorf("making the input: %w", err)
	}
	if echoed := bytes.Count(out.Bytes(), []byte(`{"type":"STATE"`)); echoed == 0 || echoed < states {
		return m, fmt.Errorf("%d states of %d came back", echoed, states)
	}
	m.peak = write.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	return m, nil
}

// writeOlder writes some rows of the generation before the one of the catalog,
// and makes that one replace it.
func (in input) writeOlder(ctx context.Context, dir string, catalog []byte) error {
	older, err := exec.CommandContext(ctx, dir+"/bin/gen", in.args...).Output()
	if err != nil {
		return err
	}
	write := exec.CommandContext(ctx, dir+"/bin/destination", "write", "--config", dir+"/config.json", "--catalog", dir+"/catalog.json")
	write.Stdin = bytes.NewReader(older)
	if out, err := write.CombinedOutput(); err != nil {
		return fmt.Errorf("%w\n%s", err, out)
	}
	const first, second = `"generation_id":1,"minimum_generation_id":0`, `"generation_id":2,"minimum_generation_id":2`
	return os.WriteFile(filepath.Join(dir, "catalog.json"), bytes.ReplaceAll(catalog, []byte(first), []byte(second)), 0o600)
}

type counter func([]byte)

func (c counter) Write(b []byte) (int, error) {
	c(b)
	return len(b), nil
}
