package storage

import (
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	iceio "github.com/apache/iceberg-go/io"
)

func TestLocalFilesAreWrittenWhole(t *testing.T) {
	RegisterLocal()
	dir := t.TempDir()
	loaded, err := iceio.LoadFS(t.Context(), nil, "file://"+dir)
	if err != nil {
		t.Fatal(err)
	}
	files, ok := loaded.(localFiles)
	if !ok {
		t.Fatalf("the library uses %T", loaded)
	}
	for _, name := range []string{"file://" + dir + "/a/b/c%20d", dir + "/e/f"} {
		f, err := files.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := io.WriteString(f, "one "); err != nil {
			t.Error(err)
		}
		if _, err := f.ReadFrom(strings.NewReader("two")); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err != nil {
			t.Error(err)
		}
		if err := f.Close(); err == nil {
			t.Error("closed twice")
		}
		if got, err := files.ReadFile(name); err != nil || string(got) != "one two" {
			t.Errorf("%q, %v", got, err)
		}
		if _, err := files.Create(name); !errors.Is(err, os.ErrExist) {
			t.Errorf("an existing file was opened for writing: %v", err)
		}
	}
	if _, err := os.Stat(filepath.Join(dir, "a/b/c d")); err != nil {
		t.Error(err)
	}
	scratch, err := files.CreateScratch(dir + "/scratch")
	if err != nil {
		t.Fatal(err)
	}
	if err := scratch.Close(); err != nil {
		t.Error(err)
	}
	if info, err := os.Stat(dir + "/scratch"); err != nil || info.Mode() != 0o600 {
		t.Errorf("a scratch file has mode %v, %v", info.Mode(), err)
	}
	if err := files.WriteFile(dir+"/g", []byte("x")); err != nil {
		t.Error(err)
	}
	if err := files.WriteFile(dir+"/g/h", nil); err == nil {
		t.Error("wrote below a file")
	}
}
