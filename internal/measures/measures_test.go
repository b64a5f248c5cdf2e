// Package measures holds the code to the sizes that CONTRIBUTING.md promises.
package measures

import (
	"bytes"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

const root = "../.."

// The limits, in lines. Those of files, functions and packages count all lines; the
// reading order counts neither blank lines nor comments.
const (
	maxFile         = 400
	maxFunction     = 80
	maxPackage      = 3000
	maxReadingOrder = 900
)

// maxTableMethods is for lake.Table, which everything in the destination could end up in.
const maxTableMethods = 20

func TestSizes(t *testing.T) {
	packages := map[string]int{}
	tableMethods := 0
	err := filepath.WalkDir(root, func(path string, entry fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case entry.IsDir() && path != root && (strings.HasPrefix(entry.Name(), ".") || entry.Name() == "testdata"):
			return fs.SkipDir
		case entry.IsDir() || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go"):
			return nil
		}
		text, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		lines := bytes.Count(text, []byte("\n"))
		packages[filepath.Dir(path)] += lines
		if lines > maxFile {
			t.Errorf("%s has %d lines, more than %d", path, lines, maxFile)
		}
		files := token.NewFileSet()
		file, err := parser.ParseFile(files, path, text, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		for _, declared := range file.Decls {
			f, ok := declared.(*ast.FuncDecl)
			if !ok {
				continue
			}
			if lines := files.Position(f.End()).Line - files.Position(f.Pos()).Line + 1; lines > maxFunction {
				t.Errorf("%s: %s has %d lines, more than %d", files.Position(f.Pos()), f.Name.Name, lines, maxFunction)
			}
			if strings.HasSuffix(filepath.Dir(path), "/lake") && receiver(f) == "Table" {
				tableMethods++
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	for dir, lines := range packages {
		if lines > maxPackage {
			t.Errorf("%s has %d lines, more than %d", dir, lines, maxPackage)
		}
	}
	if len(packages) < 50 {
		t.Errorf("only %d packages were found", len(packages))
	}
	if tableMethods == 0 || tableMethods > maxTableMethods {
		t.Errorf("lake.Table has %d methods, more than %d", tableMethods, maxTableMethods)
	}
}

// receiver is the type that a function is a method of.
func receiver(f *ast.FuncDecl) string {
	if f.Recv == nil {
		return ""
	}
	of := f.Recv.List[0].Type
	if pointer, ok := of.(*ast.StarExpr); ok {
		of = pointer.X
	}
	name, _ := of.(*ast.Ident)
	if name == nil {
		return ""
	}
	return name.Name
}

// mapOfTheCode is the README's.
func mapOfTheCode(t *testing.T) string {
	readme, err := os.ReadFile(filepath.Join(root, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	_, text, _ := strings.Cut(string(readme), "## Map of the code\n")
	text, _, _ = strings.Cut(text, "\n## ")
	return text
}

var (
	link = regexp.MustCompile(`\]\(([a-z][^):]*)\)`)
	code = regexp.MustCompile(`(?m)^\s*[^\s/].*|^\s*/[^/].*`)
)

// The first table of each program in the README's map is the order in which to read it.
// Its files are there, and are read in one sitting.
func TestReadingOrder(t *testing.T) {
	orders := 0
	for table := range strings.SplitSeq(mapOfTheCode(t), "\n\n") {
		lines := 0
		links := link.FindAllStringSubmatch(table, -1)
		for _, l := range links {
			path := filepath.Join(root, l[1])
			info, err := os.Stat(path)
			if err != nil {
				t.Errorf("the map leads to %s, which is not there", l[1])
			} else if !info.IsDir() {
				text, err := os.ReadFile(path)
				if err != nil {
					t.Fatal(err)
				}
				lines += len(code.FindAll(text, -1))
			}
		}
		if heading, _, _ := strings.Cut(table, "\n"); strings.Contains(heading, "in reading order") {
			orders++
			t.Logf("%s %d lines in %d files", heading, lines, len(links))
			if lines > maxReadingOrder {
				t.Errorf("%s: %d lines of code, more than %d", heading, lines, maxReadingOrder)
			}
		}
	}
	if orders != 2 {
		t.Errorf("%d reading orders, not one for each program", orders)
	}
}

// The map has every file of the two programs' main packages, and every other package or one
// around it. Packages for tests are left out.
func TestTheMapIsComplete(t *testing.T) {
	mapped := map[string]bool{}
	for _, l := range link.FindAllStringSubmatch(mapOfTheCode(t), -1) {
		mapped[l[1]] = true
		if dir := filepath.Dir(l[1]); strings.HasSuffix(l[1], ".go") && strings.Contains(dir, "/internal/") {
			mapped[dir] = true
		}
	}
	found := 0
	for _, program := range []string{"source", "destination", "protocol", "internal"} {
		err := filepath.WalkDir(filepath.Join(root, program), func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test") {
				return err
			}
			found++
			path, err = filepath.Rel(root, path)
			for place := path; err == nil && !mapped[place]; place = filepath.Dir(place) {
				if !strings.Contains(place, "/") {
					t.Errorf("%s is not in the map", path)
					break
				}
			}
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if found < 200 {
		t.Errorf("only %d files were found", found)
	}
}
