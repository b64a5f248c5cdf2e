//go:build !windows

package osfile

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// What these errors are called besides their names in POSIX.
var noSpace, readOnly, pipeClosed []error

// SyncDir returns when the entries of a directory are durable.
func SyncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// Rename moves a file to where another may be, which it replaces. Whoever opens that finds
// the one or the other. [SyncDir] makes it durable.
func Rename(from, to string) error { return os.Rename(from, to) }

// RemoveAll removes a file or a directory with all that is in it.
func RemoveAll(path string) error { return os.RemoveAll(path) }

// CreateTemp creates a file that goes away when it is closed or the process ends, however it
// ends. dir and pattern are as for [os.CreateTemp].
func CreateTemp(dir, pattern string) (*os.File, error) {
	file, err := os.CreateTemp(dir, pattern)
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, errors.Join(err, file.Close())
	}
	return file, nil
}

// Links is how many names a file has.
func Links(path string) (uint64, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint64(stat.Nlink), nil //nolint:unconvert // its type depends on the platform
}

// OthersCanRead reports whether the mode of a file lets other users of this machine read it.
func OthersCanRead(info fs.FileInfo) bool { return info.Mode().Perm()&0o077 != 0 }

// Identity is what no other open terminal, pipe or file of this machine has; "" if that
// cannot be known.
func Identity(file *os.File) string {
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return ""
	}
	return fmt.Sprintf("%x:%x", stat.Dev, stat.Ino)
}

// User names the user whose permissions this process has.
func User() string { return fmt.Sprintf("uid %d", os.Geteuid()) }
