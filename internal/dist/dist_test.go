package main

import (
	"bytes"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

const mit = "MIT License\n\nPermission is hereby granted, free of charge, to any person\nobtaining a copy"

func tree(t *testing.T, files map[string]string) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range files {
		path := filepath.Join(dir, name)
		if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestLicensesIn(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  string // the identifiers, or the error
	}{
		"one":                       {map[string]string{"LICENSE": mit}, "MIT"},
		"with a notice":             {map[string]string{"License.txt": mit, "NOTICE": "made by us"}, "MIT,"},
		"of a package that is used": {map[string]string{"COPYING": mit, "used/LICENSE_X": "Apache License\n Version 2.0, January 2004"}, "MIT,Apache-2.0"},
		"between":                   {map[string]string{"LICENSE": mit, "used/LICENSE": mit, "used/deep/x.go": ""}, "MIT,MIT"},
		"of a package that is not":  {map[string]string{"LICENSE": mit, "other/LICENSE": "pay us"}, "MIT"},
		"none":                      {map[string]string{"NOTICE": "made by us", "license.go": mit}, "no licence is in "},
		"unknown":                   {map[string]string{"LICENSE": "GNU GENERAL PUBLIC LICENSE"}, "is a licence that is not known"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := tree(t, test.files)
			used := []string{dir, filepath.Join(dir, "used")}
			if _, ok := test.files["used/deep/x.go"]; ok {
				used = []string{filepath.Join(dir, "used", "deep")}
			}
			if _, err := os.Stat(filepath.Join(dir, "used")); err != nil {
				used = used[:1]
			}
			found, err := licensesIn(dir, used)
			var ids []string
			for _, l := range found {
				ids = append(ids, l.id)
			}
			if got := strings.Join(ids, ","); err == nil && got != test.want || err != nil && !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

// A dependency whose licence is not known is noticed before a release is made.
func TestEveryPartHasALicense(t *testing.T) {
	t.Chdir("../..")
	root, err := filepath.Abs(".")
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range platforms[:testsize.Of(1, len(platforms))] {
		for _, name := range programNames {
			places, err := packagePlaces(t.Context(), name, p)
			if err != nil {
				t.Fatal(err)
			}
			if len(places) < 10 {
				t.Errorf("%s for %s has %d modules", name, p, len(places))
			}
			for path, place := range places {
				if _, err := licensesIn(place.module, place.packages); err != nil && !strings.HasPrefix(place.module, root) {
					t.Errorf("%s: %v", path, err)
				}
			}
		}
	}
}

// What is embedded is no module, so Go does not know of it.
func TestEmbeddedPackagesAreParts(t *testing.T) {
	const named = `{"name":"chart","version":"1.2.3"}`
	for name, test := range map[string]struct {
		files map[string]string
		want  string // the parts, or the error
	}{
		"one":             {map[string]string{"page/chart/package.json": named, "page/chart/LICENSE": mit}, "npm chart 1.2.3 MIT"},
		"none":            {map[string]string{"page/page.go": ""}, ""},
		"without licence": {map[string]string{"page/chart/package.json": named}, "no licence is in "},
		"without version": {map[string]string{"page/chart/package.json": `{"name":"chart"}`}, "does not say which version of which package"},
	} {
		t.Run(name, func(t *testing.T) {
			parts, err := embeddedIn([]string{filepath.Join(tree(t, test.files), "page")})
			got := ""
			for _, p := range parts {
				got += strings.Join([]string{p.kind, p.path, p.version, p.licenses[0].id}, " ")
			}
			if err == nil && got != test.want || err != nil && (test.want == "" || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("got %q, %v; want %q", got, err, test.want)
			}
		})
	}
}

func TestATextIsThereOnce(t *testing.T) {
	texts := string(licenseTexts("source", []part{
		{path: "std", version: "1.26", licenses: []license{{"MIT", "of Go"}}},
		{path: "a", version: "v1", licenses: []license{{"MIT", "of a and b"}, {"", "notice of a"}}},
		{path: "b", version: "v2", licenses: []license{{"MIT", "of a and b"}, {"MIT", "of a and b"}}},
	}))
	for _, want := range []string{"\nstd 1.26\n\nof Go\n", "\na v1\nb v2\n\nof a and b\n", "\na v1\n\nnotice of a\n"} {
		if strings.Count(texts, want) != 1 {
			t.Errorf("%q is not there once:\n%s", want, texts)
		}
	}
}

// Neither the times nor the modes of files on this machine are in an archive.
func TestArchivesAreTheSame(t *testing.T) {
	at := time.Date(2026, 1, 15, 10, 0, 0, 0, time.UTC)
	for name, write := range map[string]func(io.Writer, []entry, time.Time) error{"tar": writeTar, "zip": writeZip} {
		t.Run(name, func(t *testing.T) {
			var made [2]bytes.Buffer
			for i := range made {
				dir := tree(t, map[string]string{"source": "program", "docs/a.md": "text", "deploy/sync.sh": "script"})
				file := filepath.Join(dir, "docs/a.md")
				if err := os.Chmod(file, []fs.FileMode{0o600, 0o755}[i]); err != nil {
					t.Fatal(err)
				}
				if err := os.Chtimes(file, at, at.Add(time.Duration(i)*time.Hour)); err != nil {
					t.Fatal(err)
				}
				files, err := entries(dir, "root")
				if err != nil {
					t.Fatal(err)
				}
				if len(files) != 3 || files[0].mode != 0o755 || files[1].mode != 0o644 || files[2].name != "root/source" || files[2].mode != 0o755 {
					t.Fatalf("the entries are %+v", files)
				}
				if err := write(&made[i], files, at); err != nil {
					t.Fatal(err)
				}
			}
			if made[0].Len() == 0 || !bytes.Equal(made[0].Bytes(), made[1].Bytes()) {
				t.Error("the archives differ")
			}
		})
	}
}

func TestBillOfMaterials(t *testing.T) {
	r := release{version: "v1.2.3", time: firstTime}
	bill, err := r.billOfMaterials("source", platform{"linux", "arm64"}, []part{
		{kind: "golang", path: "example.org/a", version: "v1.0.0+incompatible", sum: "h1:AAECAw==", licenses: []license{{"MIT", ""}, {"", ""}, {"MIT", ""}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		`"bomFormat": "CycloneDX"`, `"timestamp": "1980-01-01T00:00:00Z"`, `"purl": "pkg:golang/example.org/a@v1.0.0%2Bincompatible"`,
		`"content": "00010203"`, `"id": "MIT"`, `v1.2.3?goos=linux&goarch=arm64#source"`,
	} {
		if n := bytes.Count(bill, []byte(want)); n == 0 {
			t.Errorf("the bill has no %s:\n%s", want, bill)
		}
	}
	if _, err := r.billOfMaterials("source", platform{}, []part{{sum: "h1:?"}}); err == nil {
		t.Error("a checksum that is none passes")
	}
}

func TestPlatformsAreNamed(t *testing.T) {
	for _, args := range [][]string{nil, {"archives"}, {"archives", t.TempDir(), "linux"}, {"programs", t.TempDir()}, {"-time", "today", "check"}} {
		if err := run(t.Context(), args); err == nil {
			t.Errorf("%q passes", args)
		}
	}
}
