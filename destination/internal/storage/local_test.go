package storage

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func openLocal(t *testing.T, warehouse string) *Storage {
	t.Helper()
	s, err := Open(t.Context(), Default(), warehouse, "")
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// The library's own access to files does not wait for the disk.
func TestTheLibraryUsesOurFiles(t *testing.T) {
	s := openLocal(t, "file://"+t.TempDir())
	for _, location := range []string{s.Warehouse(), s.Directory()} {
		if files, err := iceio.LoadFS(t.Context(), nil, location); err != nil || files != s.Files() {
			t.Errorf("%s: the library uses %T (error %v)", location, files, err)
		}
	}
}

func TestLocalFilesAreWrittenWhole(t *testing.T) {
	dir := t.TempDir()
	files := openLocal(t, "file://"+dir).Files().(localFiles)
	for _, name := range []string{"file://" + dir + "/a/b/c%20d", dir + "/e/f"} {
		f, err := files.Create(name)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Write([]byte("one ")); err != nil {
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
	if _, err := files.ReadFile(dir); err == nil {
		t.Error("read a directory")
	}
	// The others are removed although one cannot be.
	removed, err := files.DeleteFiles(t.Context(), []string{dir + "/a", dir + "/e/f", dir + "/g", dir + "/none"})
	if err == nil || !strings.Contains(err.Error(), "removing "+dir+"/a") || fmt.Sprint(removed) != fmt.Sprint([]string{dir + "/e/f", dir + "/g", dir + "/none"}) {
		t.Errorf("removed %q, %v", removed, err)
	}
}

func TestWarehousesCanBeSpelledInSeveralWays(t *testing.T) {
	dir := "file://" + t.TempDir()
	for _, warehouse := range []string{dir, dir + "/", dir + "/./lake/", dir + "//lake"} {
		if err := Default().Validate(warehouse); err != nil {
			t.Errorf("%s: %v", warehouse, err)
		}
	}
}

func TestWhatIsNoStorageNamesTheRemedy(t *testing.T) {
	const local, url = `{"type":"local"}`, "It must be file:/// and the absolute path of a directory"
	for name, tc := range map[string]struct{ raw, warehouse, want string }{
		"unknown kind":       {`{"type":"gs"}`, "file:///lake", `"storage.type" is "gs". The storage types are: local, s3.`},
		"other storage":      {local, "s3://bucket/lake", `"warehouse" is "s3://bucket/lake", and its "storage.type" is "local", the default. Set it to "s3", or give`},
		"a user in it":       {local, "file://u:p@/lake", url},
		"relative warehouse": {local, "lake", url},
		"root":               {local, "file:///", url},
		"root, with a dot":   {local, "file:///lake/..", url},
		"a space":            {`{}`, "file:///my%20lake", "Use a path without spaces"},
	} {
		t.Run(name, func(t *testing.T) {
			c := Default()
			if err := json.Unmarshal([]byte(tc.raw), &c); err != nil {
				t.Fatal(err)
			}
			_, openErr := Open(t.Context(), c, tc.warehouse, "")
			for _, err := range []error{c.Validate(tc.warehouse), openErr} {
				if e := (*protocol.Error)(nil); !errors.As(err, &e) || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, tc.want) {
					t.Errorf("error %v", err)
				}
			}
		})
	}
}

func TestErrorsOfFilesNameTheRemedy(t *testing.T) {
	for _, tc := range []struct {
		err  error
		kind protocol.Kind
		want string
	}{
		{syscall.ENOSPC, protocol.TransientError, "There is no space left for table ns.t. Free some"},
		{syscall.EDQUOT, protocol.TransientError, "There is no space left for table ns.t."},
		{syscall.EFBIG, protocol.ConfigError, "ulimit -f"},
		{syscall.EROFS, protocol.ConfigError, "The files of table ns.t cannot be written."},
		{syscall.EACCES, protocol.ConfigError, fmt.Sprintf("The files of table ns.t cannot be written. Make the warehouse writable for this program's user (uid %d).", os.Getuid())},
	} {
		err := fmt.Errorf("writing: %w", &fs.PathError{Op: "write", Path: "x", Err: tc.err})
		if e := Explain(err, "table ns.t"); e == nil || e.Kind != tc.kind || !strings.Contains(e.Message, tc.want) || !errors.Is(e, tc.err) {
			t.Errorf("%v became %v", err, e)
		}
	}
	for _, err := range []error{nil, syscall.EIO, fs.ErrNotExist} {
		if e := Explain(err, "table ns.t"); e != nil {
			t.Errorf("%v became %v", err, e)
		}
	}
}
