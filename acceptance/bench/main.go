// Command bench measures `destination write` onto local files and onto S3 beside
// DuckDB's COPY of the same file, in turn on the same machine, and prints medians.
//
//	go run ./acceptance/bench [-kinds sleep,wide,text] [-cores 1,2] [-pairs 3] [-scale 1] [-tables 100,300]
//
// Ours is the whole process: start, four metadata columns and the Iceberg
// commit included, from `append` of 1,000,000 records (text: 100,000). DuckDB's is
// the COPY of the data columns alone, and once more with the four metadata columns: equal
// work. Both write zstd level 1, and level 3 for texts. S3 is versitygw, which
// shares the cores and the disk of this machine with the destination. It also measures
// syncs of many tables there, and how long programs take to start.
package main

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"text/tabwriter"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

const python = ".cache/engines/bin/python"

func main() {
	log.SetFlags(0)
	log.SetPrefix("bench: ")
	kinds := flag.String("kinds", "sleep,wide,text", "inputs, of those that ./acceptance/bench/gen makes")
	cores := flag.String("cores", "1,2", "numbers of cores")
	pairs := flag.Int("pairs", 3, "runs of each side")
	scale := flag.Float64("scale", 1, "fraction of the records")
	tables := flag.String("tables", "100,300", "numbers of tables")
	flag.Parse()
	list := func(text string) []string {
		return strings.FieldsFunc(text, func(r rune) bool { return r == ',' })
	}
	if err := run(context.Background(), list(*kinds), list(*cores), *pairs, *scale, list(*tables)); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, kinds, cores []string, pairs int, scale float64, tables []string) error {
	dir, err := filepath.Abs(".cache/bench")
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	gen := filepath.Join(dir, "gen")
	if out, err := exec.CommandContext(ctx, "go", "build", "-o", gen, "./acceptance/bench/gen").CombinedOutput(); err != nil {
		return fmt.Errorf("building the generator: %w\n%s", err, out)
	}
	store, err := servers.Programs(".cache").VersityGW(ctx)
	if err != nil {
		return err
	}
	return errors.Join(startUp(ctx, dir, gen), compare(ctx, store, dir, gen, kinds, cores, pairs, scale), manyTables(ctx, store, dir, tables), store.Stop())
}

func compare(ctx context.Context, store *servers.Server, dir, gen string, kinds, cores []string, pairs int, scale float64) error {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "input\tcores\trecords\tours s\trecords/s\tpeak MB\tDuckDB s\tpeak MB\tours/DuckDB\tequal work s\tours/DuckDB\tS3 s\tpeak MB\tours/S3\t")
	for _, kind := range kinds {
		records := int(1_000_000 * scale)
		if kind == "text" {
			records /= 10
		}
		in := input{kind: kind, records: records, base: filepath.Join(dir, kind+"-"+strconv.Itoa(records))}
		if err := in.generate(ctx, gen); err != nil {
			return fmt.Errorf("generating %s: %w", kind, err)
		}
		for _, n := range cores {
			var ours, onS3, theirs, equal []sample
			for range pairs {
				o, err := in.onLocalFiles(ctx, dir, n)
				if err != nil {
					return fmt.Errorf("writing %s on %s cores: %w", kind, n, err)
				}
				s, err := in.onS3(ctx, dir, n, store)
				if err != nil {
					return fmt.Errorf("writing %s onto S3 on %s cores: %w", kind, n, err)
				}
				t, err1 := in.duckdb(ctx, dir, n)
				e, err2 := in.duckdb(ctx, dir, n, "--metadata")
				if err := errors.Join(err1, err2); err != nil {
					return fmt.Errorf("copying %s with DuckDB on %s cores: %w", kind, n, err)
				}
				ours, onS3, theirs, equal = append(ours, o), append(onS3, s), append(theirs, t), append(equal, e)
			}
			o, s, t, e := median(ours), median(onS3), median(theirs), median(equal)
			fmt.Fprintf(table, "%s\t%s\t%d\t%.2f\t%.0f\t%d\t%.2f\t%d\t%.2f\t%.2f\t%.2f\t%.2f\t%d\t%.2f\t\n",
				kind, n, records, o.seconds, float64(records)/o.seconds, o.peak>>20, t.seconds, t.peak>>20, o.seconds/t.seconds, e.seconds, o.seconds/e.seconds,
				s.seconds, s.peak>>20, o.seconds/s.seconds)
		}
	}
	return table.Flush()
}

// input is one generated file of messages with its configured catalog.
type input struct {
	kind    string
	records int
	base    string // path without extension
}

func (in input) messages() string { return in.base + ".jsonl" }
func (in input) catalog() string  { return in.base + ".catalog.json" }

// generate makes the files unless an earlier run did.
func (in input) generate(ctx context.Context, gen string) error {
	for path, args := range map[string][]string{
		in.catalog():  {"-catalog", "-mode", "append"},
		in.messages(): {"-n", strconv.Itoa(in.records)},
	} {
		if _, err := os.Stat(path); err == nil {
			continue
		}
		f, err := os.Create(path + ".part")
		if err != nil {
			return err
		}
		cmd := exec.CommandContext(ctx, gen, append([]string{"-kind", in.kind}, args...)...)
		cmd.Stdout, cmd.Stderr = f, os.Stderr
		if err := cmd.Run(); err != nil {
			return err
		}
		if err := f.Close(); err != nil {
			return err
		}
		if err := os.Rename(path+".part", path); err != nil {
			return err
		}
	}
	return nil
}

// onLocalFiles measures our write into an empty warehouse on this machine.
func (in input) onLocalFiles(ctx context.Context, dir, cores string) (sample, error) {
	warehouse := filepath.Join(dir, "lake")
	if err := os.RemoveAll(warehouse); err != nil {
		return sample{}, err
	}
	return in.destination(ctx, dir, cores, map[string]any{"warehouse": "file://" + warehouse, "namespace": "bench"})
}

// onS3 measures our write into an empty warehouse of an object store.
func (in input) onS3(ctx context.Context, dir, cores string, store *servers.Server) (sample, error) {
	catalog := filepath.Join(dir, "s3.db")
	if err := os.RemoveAll(catalog); err != nil {
		return sample{}, err
	}
	return in.destination(ctx, dir, cores, map[string]any{
		"warehouse": fmt.Sprintf("s3://%s/%d", servers.Bucket, time.Now().UnixNano()), "namespace": "bench",
		"storage": store.Storage(), "catalog": map[string]any{"type": "sqlite", "path": catalog},
	})
}

// destination measures our write into a lake and checks that every record was committed.
func (in input) destination(ctx context.Context, dir, cores string, lake map[string]any) (sample, error) {
	config := filepath.Join(dir, "destination.json")
	if err := writeJSON(config, lake); err != nil {
		return sample{}, err
	}
	stdin, err := os.Open(in.messages())
	if err != nil {
		return sample{}, err
	}
	defer stdin.Close()
	cmd := exec.CommandContext(ctx, "bin/destination", "write", "--config", config, "--catalog", in.catalog())
	cmd.Env = append(os.Environ(), "GOMAXPROCS="+cores)
	cmd.Stdin = stdin
	start := time.Now()
	out, s, err := measure(cmd)
	if err != nil {
		return s, err
	}
	s.seconds = time.Since(start).Seconds()
	committed, err := committedRecords(out)
	if err != nil {
		return s, err
	}
	if committed != in.records {
		return s, fmt.Errorf("%d of %d records were committed", committed, in.records)
	}
	return s, nil
}

// duckdb measures DuckDB's COPY of the same file, by its own clock.
func (in input) duckdb(ctx context.Context, dir, cores string, flags ...string) (sample, error) {
	level := "1"
	if in.kind == "text" {
		level = "3"
	}
	args := []string{"acceptance/engines/duckdb_copy.py", in.messages(), in.catalog(), filepath.Join(dir, "duckdb.parquet"), cores, level}
	out, s, err := measure(exec.CommandContext(ctx, python, append(args, flags...)...))
	if err != nil {
		return s, err
	}
	var took struct{ Seconds float64 }
	if err := json.Unmarshal(out, &took); err != nil {
		return s, fmt.Errorf("reading what duckdb_copy.py says: %w", err)
	}
	s.seconds = took.Seconds
	return s, nil
}

// committedRecords adds up the counts that the echoed states carry.
func committedRecords(messages []byte) (int, error) {
	total := 0.0
	lines := bufio.NewScanner(bytes.NewReader(messages))
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var m struct {
			State struct {
				DestinationStats struct {
					RecordCount float64
				}
			}
		}
		if err := json.Unmarshal(lines.Bytes(), &m); err != nil {
			return 0, fmt.Errorf("reading the destination's output: %w", err)
		}
		total += m.State.DestinationStats.RecordCount
	}
	return int(total), lines.Err()
}

// sample is one run of one side.
type sample struct {
	seconds float64
	peak    int64 // bytes of resident memory
}

func measure(cmd *exec.Cmd) ([]byte, sample, error) {
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, os.Stderr
	if err := cmd.Run(); err != nil {
		return nil, sample{}, fmt.Errorf("%s: %w\n%s", cmd, err, out.Bytes())
	}
	peak := cmd.ProcessState.SysUsage().(*syscall.Rusage).Maxrss
	if runtime.GOOS != "darwin" {
		peak <<= 10 // everyone else counts in kilobytes
	}
	return out.Bytes(), sample{peak: peak}, nil
}

// median picks the run with the median time.
func median(s []sample) sample {
	slices.SortFunc(s, faster)
	return s[len(s)/2]
}

func faster(a, b sample) int { return cmp.Compare(a.seconds, b.seconds) }
