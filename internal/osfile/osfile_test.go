package osfile_test

import (
	"os"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
)

// tempDir is t.TempDir without [os.RemoveAll], which not every file system of Windows offers.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "osfile-") //nolint:usetesting // t.TempDir fails where os.RemoveAll does
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := osfile.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func write(t *testing.T, path, content string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRenameReplacesAFile(t *testing.T) {
	dir := tempDir(t)
	from, to := write(t, filepath.Join(dir, "new"), "new"), write(t, filepath.Join(dir, "old"), "old")
	if err := osfile.Rename(from, to); err != nil {
		t.Fatal(err)
	}
	if err := osfile.SyncDir(dir); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(to); err != nil || string(got) != "new" {
		t.Errorf("%s has %q, %v", to, got, err)
	}
	if _, err := os.Stat(from); !os.IsNotExist(err) {
		t.Errorf("%s is still there: %v", from, err)
	}
	if err := osfile.Rename(filepath.Join(dir, "none"), to); !os.IsNotExist(err) {
		t.Errorf("moving no file: %v", err)
	}
}

func TestRenameWhileAnotherReads(t *testing.T) {
	dir := tempDir(t)
	from, to := write(t, filepath.Join(dir, "new"), "new"), write(t, filepath.Join(dir, "old"), "old")
	reader, err := os.Open(to)
	if err != nil {
		t.Fatal(err)
	}
	closed := make(chan error)
	go func() {
		time.Sleep(50 * time.Millisecond)
		closed <- reader.Close()
	}()
	if err := osfile.Rename(from, to); err != nil {
		t.Error(err)
	}
	if err := <-closed; err != nil {
		t.Error(err)
	}
}

func TestATemporaryFileGoesAway(t *testing.T) {
	dir := tempDir(t)
	file, err := osfile.CreateTemp(dir, "rows-*.tmp")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := file.WriteString("rows"); err != nil {
		t.Error(err)
	}
	got := make([]byte, 4)
	if _, err := file.ReadAt(got, 0); err != nil || string(got) != "rows" {
		t.Errorf("read %q, %v", got, err)
	}
	if err := file.Close(); err != nil {
		t.Error(err)
	}
	if left, err := os.ReadDir(dir); err != nil || len(left) > 0 {
		t.Errorf("the directory has %v, %v", left, err)
	}
	if _, err := osfile.CreateTemp(filepath.Join(dir, "none"), "*"); !os.IsNotExist(err) {
		t.Errorf("in no directory: %v", err)
	}
}

func TestRemoveAll(t *testing.T) {
	dir := filepath.Join(tempDir(t), "lake")
	if err := os.MkdirAll(filepath.Join(dir, "a", "b"), 0o700); err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "a", "b", "c"), "")
	write(t, filepath.Join(dir, "d"), "")
	for range 2 { // what is not there is removed
		if err := osfile.RemoveAll(dir); err != nil {
			t.Fatal(err)
		}
		if _, err := os.Stat(dir); !os.IsNotExist(err) {
			t.Fatalf("it is still there: %v", err)
		}
	}
}

func TestLinks(t *testing.T) {
	dir := tempDir(t)
	file := write(t, filepath.Join(dir, "file"), "")
	if n, err := osfile.Links(file); n != 1 || err != nil {
		t.Errorf("%d names, %v", n, err)
	}
	if err := os.Link(file, filepath.Join(dir, "other")); err != nil {
		t.Fatal(err)
	}
	if n, err := osfile.Links(file); n != 2 || err != nil {
		t.Errorf("%d names, %v", n, err)
	}
	if _, err := osfile.Links(filepath.Join(dir, "none")); !os.IsNotExist(err) {
		t.Errorf("of no file: %v", err)
	}
}

func TestIdentity(t *testing.T) {
	dir := tempDir(t)
	open := func(name string) *os.File {
		file, err := os.OpenFile(filepath.Join(dir, name), os.O_CREATE|os.O_RDWR, 0o600)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { file.Close() })
		return file
	}
	a, again, b := osfile.Identity(open("a")), osfile.Identity(open("a")), osfile.Identity(open("b"))
	if a == "" || a != again || a == b {
		t.Errorf("the identities are %q, %q and %q", a, again, b)
	}
}

func TestWhatErrorsMean(t *testing.T) {
	for _, test := range []struct {
		err  error
		want []bool // no space, read-only, a closed pipe
	}{
		{syscall.ENOSPC, []bool{true, false, false}},
		{syscall.EDQUOT, []bool{true, false, false}},
		{syscall.EROFS, []bool{false, true, false}},
		{&os.PathError{Err: syscall.EPIPE}, []bool{false, false, true}},
		{syscall.EIO, []bool{false, false, false}},
		{nil, []bool{false, false, false}},
	} {
		got := []bool{osfile.NoSpace(test.err), osfile.ReadOnly(test.err), osfile.PipeClosed(test.err)}
		if !slices.Equal(got, test.want) {
			t.Errorf("%v: %v, want %v", test.err, got, test.want)
		}
	}
	if osfile.User() == "" {
		t.Error("the user has no name")
	}
}
