package goroutine_test

import (
	"errors"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

func TestAPanicInAGoroutineIsAnError(t *testing.T) {
	cause := errors.New("cause")
	for name, f := range map[string]func() error{
		"Start":     func() error { return <-goroutine.Start(func() error { panic(cause) }) },
		"Recovered": goroutine.Recovered(func() error { panic(cause) }),
	} {
		if err := f(); !errors.Is(err, cause) {
			t.Errorf("%s: got %v", name, err)
		}
	}
}

// Whoever starts a goroutine in another way loses the panics in it.
func TestEveryGoroutineRecovers(t *testing.T) {
	seen := 0
	for _, dir := range []string{"../../protocol", "../../source", "../../destination", "../../internal"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, ".go") || strings.HasSuffix(path, "_test.go") || strings.HasSuffix(filepath.Dir(path), "test") {
				return err
			}
			files := token.NewFileSet()
			file, err := parser.ParseFile(files, path, nil, parser.SkipObjectResolution)
			if err != nil {
				return err
			}
			ast.Inspect(file, func(n ast.Node) bool {
				what := ""
				switch n := n.(type) {
				case *ast.GoStmt:
					seen++
					if path != "../../internal/goroutine/goroutine.go" {
						what = "a go statement; use goroutine.Start"
					}
				case *ast.CallExpr:
					what = unrecovered(n)
				}
				if what != "" {
					t.Errorf("%s: %s", files.Position(n.Pos()), what)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	if seen == 0 {
		t.Error("no go statement was found, not even that of goroutine.Start")
	}
}

// unrecovered says what is wrong with a call that starts a goroutine.
func unrecovered(call *ast.CallExpr) string {
	name, qualifier := callee(call)
	switch {
	case name == "Go" && qualifier != "":
		if inner, ok := call.Args[0].(*ast.CallExpr); ok {
			if name, _ := callee(inner); name == "Recovered" {
				return ""
			}
		}
		return "a goroutine of a function that is not goroutine.Recovered"
	case name == "AfterFunc":
		if f, ok := call.Args[1].(*ast.FuncLit); ok {
			for _, s := range f.Body.List {
				if d, ok := s.(*ast.DeferStmt); ok {
					if name, _ := callee(d.Call); name == "Recover" {
						return ""
					}
				}
			}
		}
		return "AfterFunc with a function that does not defer goroutine.Recover"
	}
	return ""
}

// callee is the name of the function that is called, and what stands before the
// dot: "" for nothing, "…" for anything but a name.
func callee(call *ast.CallExpr) (name, qualifier string) {
	switch f := call.Fun.(type) {
	case *ast.Ident:
		return f.Name, ""
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			return f.Sel.Name, x.Name
		}
		return f.Sel.Name, "…"
	}
	return "", "…"
}
