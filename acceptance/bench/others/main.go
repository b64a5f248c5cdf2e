// Command others measures `destination write` beside other programs that write Iceberg tables
// from the same records: PyIceberg, whose rows Arrow parses, and dlt's filesystem destination.
//
//	go run ./acceptance/bench/others [-records 100000] [-upserts 10000]
//
// Each is a whole process that writes into a table on local files: first an append into a new
// table, then an upsert of some of its keys with other values. It has all cores.
package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("others: ")
	records := flag.Int("records", 100_000, "that are appended")
	upserts := flag.Int("upserts", 10_000, "records of keys that the table has then")
	flag.Parse()
	if err := run(context.Background(), *records, *upserts); err != nil {
		log.Fatal(err)
	}
}

// A writer writes an input into the table of a directory.
type writer struct {
	name    string
	command func(messages, catalog, dir, mode string) []string
}

func python(environment, script string) func(messages, catalog, dir, mode string) []string {
	return func(messages, catalog, dir, mode string) []string {
		return []string{".cache/" + environment + "/bin/python", "acceptance/engines/" + script, messages, catalog, dir, mode}
	}
}

var writers = []writer{
	{"destination", func(_, catalog, dir, _ string) []string {
		return []string{"bin/destination", "write", "--config", dir + ".json", "--catalog", catalog}
	}},
	{"PyIceberg", python("engines", "pyiceberg_write.py")},
	{"dlt", python("dlt", "dlt_write.py")},
}

func run(ctx context.Context, records, upserts int) (err error) {
	if upserts < 1 || records < upserts {
		return errors.New("there must be at least as many records as upserts, and one")
	}
	dir, err := os.MkdirTemp("", "bench-others-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	gen := filepath.Join(dir, "gen")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", gen, "./acceptance/bench/gen").CombinedOutput(); err != nil {
		return fmt.Errorf("building the generator: %w\n%s", err, out)
	}
	path := func(name string) string { return filepath.Join(dir, name) }
	for name, args := range map[string][]string{
		"catalog.json": {"-catalog", "-mode", "append_dedup"},
		"append.jsonl": {"-n", strconv.Itoa(records)},
		"upsert.jsonl": {"-n", strconv.Itoa(upserts), "-step", strconv.Itoa(records / upserts)},
	} {
		if err := generate(ctx, gen, path(name), append([]string{"-kind", "sleep"}, args...)); err != nil {
			return fmt.Errorf("making %s: %w", name, err)
		}
	}
	if err := change(path("upsert.jsonl")); err != nil {
		return err
	}
	size, err := os.Stat(path("append.jsonl"))
	if err != nil {
		return err
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "writer\tappend of %d s\tCPU s\trecords/s\tMB/s\tpeak MiB\tdata MB\tupsert of %d s\tCPU s\tpeak MiB\t\n", records, upserts)
	for _, w := range writers {
		appended, err := w.measure(ctx, dir, "append")
		if err != nil {
			return fmt.Errorf("%s: appending: %w", w.name, err)
		}
		data, err := dataBytes(path(w.name))
		if err != nil {
			return err
		}
		upserted, err := w.measure(ctx, dir, "upsert")
		if err != nil {
			return fmt.Errorf("%s: upserting: %w", w.name, err)
		}
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%.0f\t%.1f\t%d\t%.1f\t%.2f\t%.2f\t%d\t\n", w.name,
			appended.wall.Seconds(), appended.cpu.Seconds(), float64(records)/appended.wall.Seconds(), float64(size.Size())/1e6/appended.wall.Seconds(),
			appended.peak>>20, float64(data)/1e6, upserted.wall.Seconds(), upserted.cpu.Seconds(), upserted.peak>>20)
	}
	return table.Flush()
}

// generate has gen write a file. What this process held in memory would count as that of the
// programs that it starts.
func generate(ctx context.Context, gen, path string, args []string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, gen, args...)
	cmd.Stdout, cmd.Stderr = f, os.Stderr
	return errors.Join(cmd.Run(), f.Close())
}

// change gives most records of a file another value.
func change(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return os.WriteFile(path, bytes.ReplaceAll(text, []byte(`"nap":false`), []byte(`"nap":true`)), 0o600)
}

// sample is one run.
type sample struct {
	wall, cpu time.Duration
	peak      int64 // bytes of resident memory
}

// measure runs a writer over an input.
func (w writer) measure(ctx context.Context, dir, mode string) (sample, error) {
	lake := filepath.Join(dir, w.name)
	config, err := json.Marshal(map[string]any{"warehouse": "file://" + lake, "namespace": "bench", "maintenance": map[string]any{"on_write": false}})
	if err != nil {
		return sample{}, err
	}
	if err := os.WriteFile(lake+".json", config, 0o600); err != nil {
		return sample{}, err
	}
	messages := filepath.Join(dir, mode+".jsonl")
	stdin, err := os.Open(messages)
	if err != nil {
		return sample{}, err
	}
	defer stdin.Close()
	args := w.command(messages, filepath.Join(dir, "catalog.json"), lake, mode)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Stdin = stdin
	start := time.Now()
	if out, err := cmd.CombinedOutput(); err != nil {
		return sample{}, fmt.Errorf("%s: %w\n%s", cmd, err, out)
	}
	usage := cmd.ProcessState
	return sample{time.Since(start), usage.UserTime() + usage.SystemTime(), usage.SysUsage().(*syscall.Rusage).Maxrss << 10}, nil
}

// dataBytes is the size of the data files of the table in a directory. dlt has other Parquet
// files there, too.
func dataBytes(dir string) (size int64, err error) {
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(path) != ".parquet" || filepath.Base(filepath.Dir(path)) != "data" {
			return err
		}
		info, err := d.Info()
		if err == nil {
			size += info.Size()
		}
		return err
	})
	return size, err
}
