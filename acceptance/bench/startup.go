package main

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"text/tabwriter"
	"time"
)

// startUp measures processes that have next to nothing to do: the specification of each
// program, and a sync of 100 records into a new table on local files.
func startUp(ctx context.Context, dir, gen string) error {
	const runs = 20
	in := input{kind: "wide", records: 100, base: filepath.Join(dir, "wide-100")}
	if err := in.generate(ctx, gen); err != nil {
		return fmt.Errorf("generating %d records: %w", in.records, err)
	}
	specification := func(program string) func() (sample, error) {
		return func() (sample, error) {
			start := time.Now()
			_, s, err := measure(exec.CommandContext(ctx, program, "spec"))
			s.seconds = time.Since(start).Seconds()
			return s, err
		}
	}
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', tabwriter.AlignRight)
	fmt.Fprintln(table, "process\tms\tfastest\tpeak MB\t")
	for _, process := range []struct {
		name string
		run  func() (sample, error)
	}{
		{"source spec", specification("bin/source")},
		{"destination spec", specification("bin/destination")},
		{"100 records", func() (sample, error) { return in.onLocalFiles(ctx, dir, "2") }},
	} {
		var samples []sample
		for range runs {
			s, err := process.run()
			if err != nil {
				return fmt.Errorf("%s: %w", process.name, err)
			}
			samples = append(samples, s)
		}
		m := median(samples)
		fastest := slices.MinFunc(samples, faster)
		fmt.Fprintf(table, "%s\t%.0f\t%.0f\t%d\t\n", process.name, m.seconds*1000, fastest.seconds*1000, m.peak>>20)
	}
	return table.Flush()
}
