package main

import (
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// The page that maps Airbyte's cases to tests names only tests there are.
func TestCasesNameTestsThatExist(t *testing.T) {
	page, err := os.ReadFile("../docs/cases.md")
	if err != nil {
		t.Fatal(err)
	}
	var tests strings.Builder
	for _, dir := range []string{".", "../acceptance"} {
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
	names := regexp.MustCompile("`(Test\\w+|\\w+\\.txtar)`").FindAllStringSubmatch(string(page), -1)
	if len(names) < 50 {
		t.Errorf("the page names only %d tests", len(names))
	}
	for _, m := range names {
		name := m[1]
		there := strings.Contains(tests.String(), "func "+name+"(")
		if strings.HasSuffix(name, ".txtar") {
			_, err := os.Stat(filepath.Join("testdata/script", name))
			there = err == nil
		}
		if !there {
			t.Errorf("there is no %s", name)
		}
	}
}
