package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

const module = "github.com/ingest-connectors/whoop-iceberg"

// programNames are the packages of the programs, which are called like them.
var programNames = []string{"source", "destination"}

// programs puts both programs for a platform into a directory, each with its bill of
// materials and the licences of what it consists of.
func (r release) programs(ctx context.Context, directory string, p platform) error {
	for _, name := range programNames {
		file := filepath.Join(directory, p.executable(name))
		if err := r.build(ctx, file, name, p); err != nil {
			return err
		}
		parts, err := partsOf(ctx, file, name, p)
		if err != nil {
			return fmt.Errorf("the parts of %s: %w", file, err)
		}
		bill, err := r.billOfMaterials(name, p, parts)
		if err != nil {
			return err
		}
		if err := errors.Join(
			os.WriteFile(filepath.Join(directory, name+".cdx.json"), bill, 0o644),
			os.WriteFile(filepath.Join(directory, name+"-licenses.txt"), licenseTexts(name, parts), 0o644),
		); err != nil {
			return err
		}
	}
	return nil
}

func (p platform) executable(name string) string {
	if p.system == "windows" {
		return name + ".exe"
	}
	return name
}

// build builds a program that depends on the source and on the version of Go alone.
func (r release) build(ctx context.Context, file, name string, p platform) error {
	cli, date := module+"/protocol/cli", ""
	if r.time.After(firstTime) {
		date = r.time.Format(time.DateOnly)
	}
	_, err := goTool(ctx, p, "build", "-trimpath", "-buildvcs=false", "-tags", tags,
		"-ldflags", fmt.Sprintf("-s -w -X %[1]s.Version=%[2]s -X %[1]s.Commit=%[3]s -X %[1]s.Date=%[4]s", cli, r.version, r.commit, date),
		"-o", file, "./"+name)
	return err
}

// tags leave out what the Makefile says.
const tags = "minicore_disabled,grpcnotrace"

// goTool runs go for a platform, without what the user has set for other builds.
func goTool(ctx context.Context, p platform, args ...string) ([]byte, error) {
	cmd := exec.CommandContext(ctx, "go", args...)
	cmd.Env = append(os.Environ(), "GOOS="+p.system, "GOARCH="+p.architecture,
		"CGO_ENABLED=0", "GOFLAGS=", "GOEXPERIMENT=", "GOFIPS140=off", "GOAMD64=v1", "GOARM64=v8.0", "GOWORK=off")
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go %s for %s: %w\n%s", strings.Join(args[:1], " "), p, err, stderr.Bytes())
	}
	return out, nil
}
