package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// The documentation names only tests that exist.
func TestDocsNameTestsThatExist(t *testing.T) {
	paths, err := filepath.Glob("../docs/*.md")
	if err != nil {
		t.Fatal(err)
	}
	var pages strings.Builder
	for _, path := range append(paths, "../README.md", "../CONTRIBUTING.md") {
		text, err := os.ReadFile(path)
		if err != nil {
			t.Fatal(err)
		}
		pages.Write(text)
	}
	var tests strings.Builder
	for _, dir := range []string{".", "../source", "../protocol", "../schemas", "../internal", "../acceptance"} {
		err := filepath.WalkDir(dir, func(path string, _ fs.DirEntry, err error) error {
			if err != nil || !strings.HasSuffix(path, "_test.go") {
				return err
			}
			text, err := os.ReadFile(path)
			tests.Write(text)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	names := regexp.MustCompile("`(Test\\w+|\\w+\\.txtar)`").FindAllStringSubmatch(pages.String(), -1)
	if len(names) < 100 {
		t.Errorf("the pages name only %d tests", len(names))
	}
	for _, m := range names {
		name := m[1]
		there := strings.Contains(tests.String(), "func "+name+"(")
		if strings.HasSuffix(name, ".txtar") {
			_, err := os.Stat(filepath.Join("testdata/script", name))
			there = err == nil
		}
		if !there {
			t.Errorf("%s does not exist", name)
		}
	}
}

// The configurations that the documentation shows for REST catalogs are valid.
func TestDocumentedRESTCatalogsAreValid(t *testing.T) {
	docs, err := os.ReadFile("../docs/destination.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(docs), "#### REST catalogs\n")
	section, _, _ = strings.Cut(section, "\n### ")
	shown := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(shown) != 7 {
		t.Errorf("%d configurations", len(shown))
	}
	for _, config := range shown {
		if _, err := parseConfig([]byte(config[1])); err != nil {
			t.Errorf("%v: %s", err, config[1])
		}
	}
}

// The input that the documentation shows becomes the table that it describes.
func TestTheDocumentedInputIsWritten(t *testing.T) {
	docs, err := os.ReadFile("../docs/destination.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, _ := strings.Cut(string(docs), "### A first table\n")
	section, _, _ = strings.Cut(section, "\n## ")
	shown := regexp.MustCompile("(?s)```json\n(.*?)```").FindAllStringSubmatch(section, -1)
	if len(shown) != 2 {
		t.Fatalf("%d documents", len(shown))
	}
	config, catalog := protocoltest.File(t, map[string]string{"warehouse": "file://" + t.TempDir()}), protocoltest.File(t, shown[0][1])
	written := protocoltest.Destination(t, unsignalled(), []byte(shown[1][1]), "write", "--config", config, "--catalog", catalog)
	if written.Code != 0 || len(written.States()) != 1 {
		t.Fatalf("exit code %d: %s", written.Code, written.Stdout)
	}
	for _, tt := range []struct{ args, want string }{
		{"preview orders --json", `^(.*"price":4\.2,.*\n.*"price":12,.*\n|.*"price":12,.*\n.*"price":4\.2,.*\n)$`},
		{"state --catalog " + catalog, `"stream_state":\{"page":1\}`},
	} {
		var stdout, stderr bytes.Buffer
		env := cli.Env{Args: append(strings.Fields(tt.args), "--config", config), Stdout: &stdout, Stderr: &stderr}
		if code := run(t.Context(), env); code != 0 || !regexp.MustCompile(tt.want).Match(stdout.Bytes()) {
			t.Errorf("%s: exit code %d, %s%s", tt.args, code, &stdout, &stderr)
		}
	}
}
