// Command upsert measures `destination write` of records whose keys a table has already,
// beside an append of the same records to the same table, in turn, and prints medians.
//
//	go run ./acceptance/bench/upsert [-rows 5000000] [-upserts 500000] [-pairs 3]
//
// Both begin with the same table of local files, and are whole processes: start, read, and
// one or more commits, with no maintenance. Keys are those of all parts of the table or of
// its newest rows. What counts is processor time, which other programs hardly change.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"io/fs"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("upsert: ")
	rows := flag.Int("rows", 5_000_000, "of the table")
	upserts := flag.Int("upserts", 500_000, "records of keys that it has")
	pairs := flag.Int("pairs", 3, "runs of each side")
	flag.Parse()
	if err := run(context.Background(), *rows, *upserts, *pairs); err != nil {
		log.Fatal(err)
	}
}

// An input is records of keys that a table has.
type input struct {
	name, kind  string
	start, step int
}

func run(ctx context.Context, rows, upserts, pairs int) (err error) {
	if upserts < 1 || rows < upserts || pairs < 1 {
		return errors.New("the table must have at least as many rows as there are upserts, and there must be one")
	}
	dir, err := os.MkdirTemp("", "bench-upsert-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	b := bench{dir}
	for _, program := range []string{"./destination", "./acceptance/bench/gen"} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-tags", "minicore_disabled,grpcnotrace", "-o", dir+"/bin/", program).CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", program, err, out)
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%d keys of %d rows\tupsert CPU s\twall s\tpeak MiB\tappend CPU s\twall s\tpeak MiB\tupsert/append\t\n", upserts, rows)
	made := ""
	for _, in := range []input{
		{"growing keys, the newest", "wide", rows - upserts, 1},
		{"growing keys, of all parts", "wide", 0, rows / upserts},
		{"UUIDs, of all parts", "sleep", 0, rows / upserts},
	} {
		if made != in.kind {
			if err := b.makeTable(ctx, in.kind, rows); err != nil {
				return fmt.Errorf("writing %d rows of %s: %w", rows, in.kind, err)
			}
			made = in.kind
		}
		var ours, theirs []sample
		var ratios []float64
		for range pairs {
			u, err := b.write(ctx, in, upserts, "append_dedup")
			if err != nil {
				return fmt.Errorf("upserting %s: %w", in.name, err)
			}
			a, err := b.write(ctx, in, upserts, "append")
			if err != nil {
				return fmt.Errorf("appending %s: %w", in.name, err)
			}
			ours, theirs, ratios = append(ours, u), append(theirs, a), append(ratios, float64(u.cpu)/float64(a.cpu))
		}
		u, a := median(ours), median(theirs)
		slices.Sort(ratios)
		fmt.Fprintf(table, "%s\t%.2f\t%.2f\t%d\t%.2f\t%.2f\t%d\t%.2f\t\n", in.name,
			u.cpu.Seconds(), u.wall.Seconds(), u.peak>>20, a.cpu.Seconds(), a.wall.Seconds(), a.peak>>20, ratios[len(ratios)/2])
	}
	return table.Flush()
}

// bench is a directory for everything that is measured.
type bench struct{ dir string }

func (b bench) path(name string) string { return filepath.Join(b.dir, name) }

// makeTable writes a table, and keeps it for each run to begin with.
func (b bench) makeTable(ctx context.Context, kind string, rows int) error {
	for _, dir := range []string{"lake", "kept"} {
		if err := os.RemoveAll(b.path(dir)); err != nil {
			return err
		}
	}
	config, err := json.Marshal(map[string]any{
		"warehouse": "file://" + b.path("lake"), "namespace": "bench", "maintenance": map[string]any{"on_write": false},
	})
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.path("config.json"), config, 0o600); err != nil {
		return err
	}
	if _, err := b.measure(ctx, "append_dedup", "-kind", kind, "-n", strconv.Itoa(rows)); err != nil {
		return err
	}
	return os.Rename(b.path("lake"), b.path("kept"))
}

// write writes some records to the table as it was made.
func (b bench) write(ctx context.Context, in input, records int, mode string) (sample, error) {
	if err := os.RemoveAll(b.path("lake")); err != nil {
		return sample{}, err
	}
	if err := copyTree(b.path("kept"), b.path("lake")); err != nil {
		return sample{}, err
	}
	return b.measure(ctx, mode, "-kind", in.kind, "-n", strconv.Itoa(records), "-start", strconv.Itoa(in.start), "-step", strconv.Itoa(in.step))
}

// copyTree copies a lake. Data files, which nobody changes, are linked.
func copyTree(from, to string) error {
	return filepath.WalkDir(from, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		target := to + strings.TrimPrefix(path, from)
		switch {
		case d.IsDir():
			return os.MkdirAll(target, 0o700)
		case strings.HasSuffix(path, ".parquet"):
			return os.Link(path, target)
		}
		content, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		return os.WriteFile(target, content, 0o600)
	})
}

// sample is one run.
type sample struct {
	cpu, wall time.Duration
	peak      int64 // bytes of resident memory
}

// measure writes what gen makes with some arguments.
func (b bench) measure(ctx context.Context, mode string, args ...string) (sample, error) {
	catalog, err := exec.CommandContext(ctx, b.path("bin/gen"), append(args, "-catalog", "-mode", mode)...).Output()
	if err != nil {
		return sample{}, fmt.Errorf("making the catalog: %w", err)
	}
	if err := os.WriteFile(b.path("catalog.json"), catalog, 0o600); err != nil {
		return sample{}, err
	}
	gen := exec.CommandContext(ctx, b.path("bin/gen"), args...)
	gen.Stderr = os.Stderr
	messages, err := gen.StdoutPipe()
	if err != nil {
		return sample{}, err
	}
	write := exec.CommandContext(ctx, b.path("bin/destination"), "write", "--config", b.path("config.json"), "--catalog", b.path("catalog.json"))
	write.Stdin, write.Stdout, write.Stderr = messages, io.Discard, os.Stderr
	start := time.Now()
	if err := gen.Start(); err != nil {
		return sample{}, err
	}
	err = errors.Join(write.Run(), gen.Wait())
	s := sample{wall: time.Since(start)}
	if err != nil {
		return s, err
	}
	s.cpu = write.ProcessState.UserTime() + write.ProcessState.SystemTime()
	s.peak = write.ProcessState.SysUsage().(*syscall.Rusage).Maxrss << 10
	return s, nil
}

// median picks the run with the median processor time.
func median(s []sample) sample {
	slices.SortFunc(s, func(a, b sample) int { return cmp.Compare(a.cpu, b.cpu) })
	return s[len(s)/2]
}
