//go:build acceptance

package acceptance

import (
	"archive/zip"
	"bytes"
	"debug/buildinfo"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
)

const releaseVersion = "v1.2.3"

// releasePlatforms are those whose archives are made. RELEASE_PLATFORMS=all makes all, twice, without what was compiled
// before: an hour.
func releasePlatforms() (platforms []string, fresh bool) {
	switch wanted := os.Getenv("RELEASE_PLATFORMS"); wanted {
	case "":
		return []string{"windows/amd64"}, false
	case "all":
		return nil, true
	default:
		return strings.Fields(wanted), true
	}
}

// release is a directory with the archives of a release.
var release = sync.OnceValues(func() (directory string, err error) {
	directory = filepath.Join(binaries, "release")
	return directory, makeRelease(repository, directory, "")
})

// makeRelease makes the archives from a copy of the source; cache is the directory of what has been compiled, or "".
func makeRelease(from, directory, cache string) error {
	platforms, _ := releasePlatforms()
	cmd := exec.Command("go", append([]string{
		"run", "./internal/dist", "-version", releaseVersion, "-commit", "0123456789abcdef",
		"-time", "2026-01-15T12:00:00+02:00", "archives", directory,
	}, platforms...)...)
	cmd.Dir = from
	if cmd.Env = os.Environ(); cache != "" {
		cmd.Env = append(cmd.Env, "GOCACHE="+cache)
	}
	_, err := finish(cmd)
	return err
}

// The same source makes the same bytes in another directory.
func TestAReleaseIsReproducible(t *testing.T) {
	first, err := release()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	tracked := run(t, "git", "-C", repository, "ls-files", "-z")
	elsewhere := exec.CommandContext(t.Context(), "tar", "-C", repository, "--null", "-T", "-", "-cf", filepath.Join(dir, "source.tar"))
	elsewhere.Stdin = bytes.NewReader(tracked)
	if _, err := finish(elsewhere); err != nil {
		t.Fatal(err)
	}
	from, second := filepath.Join(dir, "elsewhere"), filepath.Join(dir, "release")
	if err := os.Mkdir(from, 0o755); err != nil {
		t.Fatal(err)
	}
	run(t, "tar", "-C", from, "-xf", filepath.Join(dir, "source.tar"))
	cache := ""
	if _, fresh := releasePlatforms(); fresh {
		cache = filepath.Join(dir, "cache")
	}
	if err := makeRelease(from, second, cache); err != nil {
		t.Fatal(err)
	}
	check := exec.CommandContext(t.Context(), "sha256sum", "-c", filepath.Join(first, "SHA256SUMS"))
	check.Dir = second
	if out, err := check.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

// Every module that is linked into a program is in its bill of materials and has its licence among the texts.
func TestAReleaseNamesItsParts(t *testing.T) {
	directory := unpackedRelease(t)
	for _, program := range []string{"source", "destination"} {
		info, err := buildinfo.ReadFile(filepath.Join(directory, program+".exe"))
		if err != nil {
			t.Fatal(err)
		}
		var bill struct {
			BOMFormat string
			Metadata  struct {
				Component struct{ Name, Version string }
			}
			Components []struct {
				Name, Version string
				Licenses      []struct{ License struct{ ID string } }
			}
		}
		readJSON(t, filepath.Join(directory, program+".cdx.json"), &bill)
		if bill.BOMFormat != "CycloneDX" || bill.Metadata.Component.Name != program || bill.Metadata.Component.Version != releaseVersion {
			t.Errorf("%s: the bill is %s of %+v", program, bill.BOMFormat, bill.Metadata.Component)
		}
		texts, err := os.ReadFile(filepath.Join(directory, program+"-licenses.txt"))
		if err != nil {
			t.Fatal(err)
		}
		names := map[string]bool{}
		for _, c := range bill.Components {
			names[c.Name+" "+c.Version] = len(c.Licenses) > 0 && c.Licenses[0].License.ID != ""
		}
		parts := []string{"std " + strings.TrimPrefix(info.GoVersion, "go")}
		for _, dep := range info.Deps {
			if dep.Replace == nil {
				parts = append(parts, dep.Path+" "+dep.Version)
			}
		}
		for _, part := range parts {
			if !names[part] || !bytes.Contains(texts, []byte("\n"+part+"\n")) {
				t.Errorf("%s: %s is not in the bill with a licence (%v), or its licence is not there", program, part, names[part])
			}
		}
		if program == "destination" {
			if part := "uplot 1.6.32"; !names[part] || !bytes.Contains(texts, []byte("\n"+part+"\n")) {
				t.Errorf("%s, which is embedded, is not in the bill, or its licence is not there", part)
			}
			parts = append(parts, "uplot 1.6.32")
		}
		if len(parts) < 10 || len(parts) != len(names) {
			t.Errorf("%s: %d parts, and %d in the bill", program, len(parts), len(names))
		}
	}
}

// unpackedRelease is a directory with what is in the archive for Windows.
func unpackedRelease(t *testing.T) string {
	t.Helper()
	directory, err := release()
	if err != nil {
		t.Fatal(err)
	}
	root := "whoop-iceberg-" + releaseVersion + "-windows-amd64"
	archive, err := zip.OpenReader(filepath.Join(directory, root+".zip"))
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	to := t.TempDir()
	var names []string
	for _, file := range archive.File {
		names = append(names, file.Name)
		if strings.Count(file.Name, "/") != 1 { // documents, in directories
			continue
		}
		in, err := file.Open()
		if err != nil {
			t.Fatal(err)
		}
		content, err := io.ReadAll(in)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(to, filepath.Base(file.Name)), content, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"LICENSE", "README.md", "docs/windows.md", "deploy/sync.sh"} {
		if !slices.Contains(names, root+"/"+name) {
			t.Errorf("the archive has no %s", name)
		}
	}
	return to
}
