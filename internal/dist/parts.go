package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
)

// A part of a program is a module that is linked into it, Go's own library, or a package
// of npm that is embedded.
type part struct {
	kind          string // of package URLs
	path, version string
	sum           string // as in go.sum; "": none
	licenses      []license
}

// partsOf are the parts of a program that has been built, in the order of their paths.
func partsOf(ctx context.Context, file, name string, p platform) ([]part, error) {
	info, err := buildinfo.ReadFile(file)
	if err != nil {
		return nil, err
	}
	places, err := packagePlaces(ctx, name, p)
	if err != nil {
		return nil, err
	}
	root, err := goTool(ctx, p, "env", "GOROOT")
	if err != nil {
		return nil, err
	}
	library := part{kind: "golang", path: "std", version: strings.TrimPrefix(info.GoVersion, "go")}
	if library.licenses, err = licensesIn(strings.TrimSpace(string(root)), nil); err != nil {
		return nil, fmt.Errorf("of Go: %w", err)
	}
	parts := []part{library}
	for _, dep := range info.Deps {
		if dep.Replace != nil && strings.HasPrefix(dep.Replace.Path, "./") {
			continue // a package of our own in its place
		}
		place, ok := places[dep.Path]
		if !ok {
			return nil, fmt.Errorf("no package of %s is in the build", dep.Path)
		}
		one := part{kind: "golang", path: dep.Path, version: dep.Version, sum: dep.Sum}
		if one.licenses, err = licensesIn(place.module, place.packages); err != nil {
			return nil, fmt.Errorf("of %s: %w", dep.Path, err)
		}
		parts = append(parts, one)
	}
	embedded, err := embeddedIn(places[module].packages)
	return append(parts, embedded...), err
}

// embeddedIn are the packages of npm in directories of our own packages, each with the
// package.json that npm has of it.
func embeddedIn(packages []string) (parts []part, err error) {
	for _, dir := range packages {
		files, err := filepath.Glob(filepath.Join(dir, "*", "package.json"))
		if err != nil {
			return nil, err
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				return nil, err
			}
			var is struct{ Name, Version string }
			if err := json.Unmarshal(text, &is); err != nil {
				return nil, fmt.Errorf("reading %s: %w", file, err)
			}
			if is.Name == "" || is.Version == "" {
				return nil, fmt.Errorf("%s does not say which version of which package it is of", file)
			}
			one := part{kind: "npm", path: is.Name, version: is.Version}
			if one.licenses, err = licensesIn(filepath.Dir(file), nil); err != nil {
				return nil, err
			}
			parts = append(parts, one)
		}
	}
	return parts, nil
}

// A place is where a module is, and those of its packages that are in a build.
type place struct {
	module   string
	packages []string
}

// packagePlaces are the places of all modules of a program, by their paths.
func packagePlaces(ctx context.Context, name string, p platform) (map[string]*place, error) {
	text, err := goTool(ctx, p, "list", "-deps", "-tags", tags, "-json=Dir,Module", "./"+name)
	if err != nil {
		return nil, err
	}
	places := map[string]*place{}
	for in := json.NewDecoder(bytes.NewReader(text)); ; {
		var found struct {
			Dir    string
			Module *struct{ Path, Dir string }
		}
		if err := in.Decode(&found); errors.Is(err, io.EOF) {
			return places, nil
		} else if err != nil {
			return nil, err
		}
		if found.Module == nil {
			continue
		}
		if places[found.Module.Path] == nil {
			places[found.Module.Path] = &place{module: found.Module.Dir}
		}
		of := places[found.Module.Path]
		of.packages = append(of.packages, found.Dir)
	}
}
