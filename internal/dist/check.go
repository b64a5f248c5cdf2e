package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"path/filepath"
)

// check checks the types of both programs on some platforms. Of other modules it looks at
// declarations alone, and a file that several platforms have in common is parsed once.
func check(ctx context.Context, of []platform) error {
	c := checker{files: token.NewFileSet(), parsed: map[string]*ast.File{}}
	var errs []error
	for _, p := range of {
		began, err := len(c.parsed), c.platform(ctx, p)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p, err))
			continue
		}
		fmt.Fprintf(os.Stderr, "%s: %d files of its own\n", p, len(c.parsed)-began)
	}
	return errors.Join(errs...)
}

// A checker has the files that were parsed, by their paths.
type checker struct {
	files  *token.FileSet
	parsed map[string]*ast.File
}

// A listedPackage is what go list says of one.
type listedPackage struct {
	ImportPath, Dir string
	GoFiles         []string
	ImportMap       map[string]string
	Module          *struct{ Main bool }
}

// platform checks the programs on one platform.
func (c checker) platform(ctx context.Context, p platform) error {
	args := []string{"list", "-deps", "-tags", tags, "-json=ImportPath,Dir,GoFiles,ImportMap,Module"}
	for _, name := range programNames {
		args = append(args, "./"+name)
	}
	text, err := goTool(ctx, p, args...)
	if err != nil {
		return err
	}
	checked := map[string]*types.Package{"unsafe": types.Unsafe}
	var errs []error
	for in := json.NewDecoder(bytes.NewReader(text)); ; { // a package comes after those that it imports
		var of listedPackage
		if err := in.Decode(&of); errors.Is(err, io.EOF) {
			return errors.Join(errs...)
		} else if err != nil {
			return err
		}
		if of.ImportPath == "unsafe" {
			continue
		}
		if checked[of.ImportPath], err = c.one(of, p, checked); err != nil {
			errs = append(errs, err)
		}
	}
}

// one checks a package, given those that it imports.
func (c checker) one(of listedPackage, p platform, checked map[string]*types.Package) (*types.Package, error) {
	own := of.Module != nil && of.Module.Main
	var files []*ast.File
	for _, name := range of.GoFiles {
		file, err := c.parse(filepath.Join(of.Dir, name), own)
		if err != nil {
			return nil, err
		}
		files = append(files, file)
	}
	var errs []error
	config := types.Config{
		IgnoreFuncBodies: !own,
		Sizes:            types.SizesFor("gc", p.architecture),
		Error:            func(err error) { errs = append(errs, err) },
		Importer: importer(func(path string) (*types.Package, error) {
			if vendored := of.ImportMap[path]; vendored != "" {
				path = vendored
			}
			if found := checked[path]; found != nil {
				return found, nil
			}
			return nil, fmt.Errorf("%s is not there", path)
		}),
	}
	if !own {
		config.Error = func(error) {} // it has been compiled by others; what is used of it is looked at
	}
	found, _ := config.Check(of.ImportPath, c.files, files, nil) // the errors have been collected
	return found, errors.Join(errs...)
}

func (c checker) parse(path string, own bool) (*ast.File, error) {
	if file := c.parsed[path]; file != nil {
		return file, nil
	}
	file, err := parser.ParseFile(c.files, path, nil, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	if !own { // the bodies would take gigabytes
		for _, declared := range file.Decls {
			if f, ok := declared.(*ast.FuncDecl); ok && f.Body != nil {
				f.Body = &ast.BlockStmt{}
			}
		}
	}
	c.parsed[path] = file
	return file, nil
}

type importer func(string) (*types.Package, error)

func (i importer) Import(path string) (*types.Package, error) { return i(path) }
