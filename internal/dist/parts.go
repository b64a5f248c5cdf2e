package main

import (
	"bytes"
	"context"
	"debug/buildinfo"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
)

// A part of a program is a module that is linked into it, or Go's own library.
type part struct {
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
	library := part{path: "std", version: strings.TrimPrefix(info.GoVersion, "go")}
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
		one := part{path: dep.Path, version: dep.Version, sum: dep.Sum}
		if one.licenses, err = licensesIn(place.module, place.packages); err != nil {
			return nil, fmt.Errorf("of %s: %w", dep.Path, err)
		}
		parts = append(parts, one)
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
