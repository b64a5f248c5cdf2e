// Command upsert measures `destination write` of records whose keys a table has already,
// beside an append of the same records to the same table, in turn, and prints medians.
//
//	go run ./acceptance/bench/upsert [-rows 5000000] [-upserts 500000] [-pairs 3] [-storages local,s3]
//
// Both begin with the same table, and are whole processes: start, read, and
// one or more commits, with no maintenance. Keys are those of all parts of the table or of
// its newest rows. What counts is processor time, which other programs hardly change. S3 is
// versitygw, which shares the cores and the disk of this machine with the destination.
package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
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

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("upsert: ")
	rows := flag.Int("rows", 5_000_000, "of the table")
	upserts := flag.Int("upserts", 500_000, "records of keys that it has")
	pairs := flag.Int("pairs", 3, "runs of each side")
	storages := flag.String("storages", "local,s3", "where the table's files are")
	flag.Parse()
	if err := run(context.Background(), *rows, *upserts, *pairs, strings.Split(*storages, ",")); err != nil {
		log.Fatal(err)
	}
}

// An input is records of keys that a table has.
type input struct {
	name, kind  string
	start, step int
}

func run(ctx context.Context, rows, upserts, pairs int, storages []string) (err error) {
	if upserts < 1 || rows < upserts || pairs < 1 {
		return errors.New("the table must have at least as many rows as there are upserts, and there must be one")
	}
	dir, err := os.MkdirTemp("", "bench-upsert-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(dir)) }()
	for _, program := range []string{"./destination", "./acceptance/bench/gen"} {
		if out, err := exec.CommandContext(ctx, "go", "build", "-tags", "minicore_disabled,grpcnotrace", "-o", dir+"/bin/", program).CombinedOutput(); err != nil {
			return fmt.Errorf("building %s: %w\n%s", program, err, out)
		}
	}
	store, err := servers.Programs(".cache").VersityGW(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, store.Stop()) }()
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintf(table, "%d keys of %d rows\tupsert CPU s\twall s\tpeak MiB\tappend CPU s\twall s\tpeak MiB\tupsert/append\t\n", upserts, rows)
	for _, storage := range storages {
		b := bench{dir: dir, lake: map[string]any{
			"maintenance": map[string]any{"on_write": false}, "catalog": map[string]any{"type": "sqlite", "path": filepath.Join(dir, "catalog.db")},
		}}
		switch storage {
		case "local":
			b.lake["warehouse"] = "file://" + filepath.Join(dir, "lake")
		case "s3":
			b.lake["warehouse"], b.lake["storage"] = "s3://"+servers.Bucket, store.Storage()
		default:
			return fmt.Errorf("-storages is %q, want local or s3", storage)
		}
		if err := b.compare(ctx, table, storage, rows, upserts, pairs); err != nil {
			return fmt.Errorf("%s: %w", storage, err)
		}
	}
	return table.Flush()
}

// bench is a directory for everything that is measured, and the destination's configuration.
type bench struct {
	dir  string
	lake map[string]any
}

func (b bench) path(name string) string { return filepath.Join(b.dir, name) }

func (b bench) compare(ctx context.Context, table io.Writer, storage string, rows, upserts, pairs int) error {
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
		fmt.Fprintf(table, "%s, %s\t%.2f\t%.2f\t%d\t%.2f\t%.2f\t%d\t%.2f\t\n", storage, in.name,
			u.cpu.Seconds(), u.wall.Seconds(), u.peak>>20, a.cpu.Seconds(), a.wall.Seconds(), a.peak>>20, ratios[len(ratios)/2])
	}
	return nil
}

// makeTable writes a table, and keeps the catalog that names it. No file of a table is changed by a later write.
func (b bench) makeTable(ctx context.Context, kind string, rows int) error {
	if err := os.RemoveAll(b.path("catalog.db")); err != nil {
		return err
	}
	b.lake["namespace"] = kind
	config, err := json.Marshal(b.lake)
	if err != nil {
		return err
	}
	if err := os.WriteFile(b.path("config.json"), config, 0o600); err != nil {
		return err
	}
	if _, err := b.measure(ctx, "append_dedup", "-kind", kind, "-n", strconv.Itoa(rows)); err != nil {
		return err
	}
	return os.Rename(b.path("catalog.db"), b.path("kept.db"))
}

// write writes some records to the table as it was made.
func (b bench) write(ctx context.Context, in input, records int, mode string) (sample, error) {
	kept, err := os.ReadFile(b.path("kept.db"))
	if err != nil {
		return sample{}, err
	}
	if err := os.WriteFile(b.path("catalog.db"), kept, 0o600); err != nil {
		return sample{}, err
	}
	return b.measure(ctx, mode, "-kind", in.kind, "-n", strconv.Itoa(records), "-start", strconv.Itoa(in.start), "-step", strconv.Itoa(in.step))
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
