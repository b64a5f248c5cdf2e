// Command dist makes what a release consists of:
//
//	go run ./internal/dist [flags] archives DIRECTORY [OS/ARCHITECTURE…]
//	go run ./internal/dist [flags] programs DIRECTORY OS/ARCHITECTURE
//	go run ./internal/dist check
//
// The first makes an archive for each platform and SHA256SUMS, the second what is in one of
// them besides documents: both programs, and for each its bill of materials (CycloneDX) and
// the licences of what is linked into it. The same source, version and Go make the same bytes,
// on any machine and in any directory. The third checks the types of both programs on all
// platforms, in a fraction of the time that compiling takes.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"time"
)

// platforms are those of a release.
var platforms = []platform{
	{"linux", "amd64"},
	{"linux", "arm64"},
	{"darwin", "amd64"},
	{"darwin", "arm64"},
	{"windows", "amd64"},
	{"windows", "arm64"},
}

type platform struct{ system, architecture string }

func (p platform) String() string { return p.system + "/" + p.architecture }

var firstTime = time.Date(1980, 1, 1, 0, 0, 0, 0, time.UTC)

// A release is what is said about the programs.
type release struct {
	version, commit string
	time            time.Time // of the commit; if that is not known, the first that an archive can say
}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, "dist:", err)
		os.Exit(1) //nolint:forbidigo // no program of the protocol
	}
}

func run(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("dist", flag.ContinueOnError)
	version := flags.String("version", "dev", "`VERSION` of the programs")
	commit := flags.String("commit", "", "`COMMIT` that they are built from")
	at := flags.String("time", "", "`TIME` of the commit, in RFC 3339: that of all files")
	if err := flags.Parse(args); err != nil {
		return err
	}
	r := release{version: *version, commit: *commit, time: firstTime}
	if *at != "" {
		given, err := time.Parse(time.RFC3339, *at)
		if err != nil {
			return fmt.Errorf("--time: %w", err)
		}
		r.time = given.UTC()
	}
	if flags.Arg(0) == "check" && flags.NArg() == 1 {
		return check(ctx, platforms)
	}
	wanted, err := parsePlatforms(flags.Args())
	if err != nil {
		return err
	}
	directory, err := filepath.Abs(flags.Arg(1))
	if err != nil {
		return err
	}
	if err := os.MkdirAll(directory, 0o755); err != nil {
		return err
	}
	switch verb := flags.Arg(0); {
	case verb == "archives" && len(wanted) == 0:
		return r.archives(ctx, directory, platforms)
	case verb == "archives":
		return r.archives(ctx, directory, wanted)
	case verb == "programs" && len(wanted) == 1:
		return r.programs(ctx, directory, wanted[0])
	}
	return errUsage
}

var errUsage = errors.New("usage: dist [flags] archives DIRECTORY [OS/ARCHITECTURE…] | programs DIRECTORY OS/ARCHITECTURE | check")

// parsePlatforms reads the arguments after the directory.
func parsePlatforms(args []string) (wanted []platform, err error) {
	if len(args) < 2 {
		return nil, errUsage
	}
	for _, arg := range args[2:] {
		system, architecture, ok := strings.Cut(arg, "/")
		if !ok {
			return nil, fmt.Errorf("%q is no platform such as linux/amd64", arg)
		}
		wanted = append(wanted, platform{system, architecture})
	}
	return wanted, nil
}
