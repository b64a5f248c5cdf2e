package osfile

import (
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/windows"
)

// What these errors are called besides their names in POSIX, which Go uses for few of them.
var (
	noSpace    = []error{windows.ERROR_DISK_FULL, windows.ERROR_HANDLE_DISK_FULL, windows.ERROR_DISK_QUOTA_EXCEEDED}
	readOnly   = []error{windows.ERROR_WRITE_PROTECT}
	pipeClosed = []error{windows.ERROR_BROKEN_PIPE, windows.ERROR_NO_DATA}
)

// SyncDir does nothing here: a directory cannot be flushed. Flushing a file, as
// [os.File.Sync] and [Rename] do, also writes the log in which NTFS has its entry.
func SyncDir(string) error { return nil }

// renameTimeout is how long another program may have a file open that is to be replaced.
// Such programs read a small file, or look for viruses in it.
const renameTimeout = 2 * time.Second

// Rename moves a file to where another may be, which it replaces. Whoever opens that finds
// the one or the other. It is durable when Rename returns. A file that another program has
// open can mostly not be replaced; Rename waits a little.
func Rename(from, to string) error {
	err := patiently(func() error { return os.Rename(from, to) })
	if err != nil {
		return err
	}
	return patiently(func() error {
		file, err := os.OpenFile(to, os.O_RDWR, 0)
		if err != nil {
			return err
		}
		return errors.Join(file.Sync(), file.Close())
	})
}

// patiently tries again what fails because another program has the file open.
func patiently(try func() error) error {
	for began := time.Now(); ; {
		err := try()
		inUse := errors.Is(err, windows.ERROR_SHARING_VIOLATION) || errors.Is(err, windows.ERROR_ACCESS_DENIED)
		if !inUse || time.Since(began) > renameTimeout {
			return err
		}
		time.Sleep(time.Duration(5+rand.IntN(20)) * time.Millisecond)
	}
}

// RemoveAll removes a file or a directory with all that is in it. Not every file system can
// remove a file as [os.RemoveAll] does, without its name; all can remove it by its name.
func RemoveAll(path string) error {
	if err := os.RemoveAll(path); err == nil {
		return nil
	}
	entries, err := os.ReadDir(path)
	for _, entry := range entries {
		err = errors.Join(err, RemoveAll(filepath.Join(path, entry.Name())))
	}
	if removeErr := os.Remove(path); removeErr != nil && !errors.Is(removeErr, fs.ErrNotExist) {
		return errors.Join(err, removeErr)
	}
	return nil
}

// CreateTemp creates a file that goes away when it is closed or the process ends, however it
// ends. dir and pattern are as for [os.CreateTemp].
func CreateTemp(dir, pattern string) (*os.File, error) {
	if dir == "" {
		dir = os.TempDir()
	}
	const flags = os.O_RDWR | os.O_CREATE | os.O_EXCL | windows.FILE_FLAG_DELETE_ON_CLOSE
	for {
		name := strings.Replace(pattern, "*", strconv.FormatUint(rand.Uint64(), 36), 1)
		file, err := os.OpenFile(filepath.Join(dir, name), flags, 0o600)
		if !errors.Is(err, os.ErrExist) {
			return file, err
		}
	}
}

// Links is how many names a file has.
func Links(path string) (uint64, error) {
	file, err := os.Open(path)
	if err != nil {
		return 0, err
	}
	defer file.Close()
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(file.Fd()), &info); err != nil {
		return 0, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return uint64(info.NumberOfLinks), nil
}

// OthersCanRead reports whether the mode of a file lets other users of this machine read it.
// Here it does not say: that follows from the file's directory.
func OthersCanRead(fs.FileInfo) bool { return false }

// Identity is what no other open terminal, pipe or file of this machine has; "" if that
// cannot be known, as of a pipe.
func Identity(file *os.File) string {
	handle := windows.Handle(file.Fd())
	var mode uint32
	if windows.GetConsoleMode(handle, &mode) == nil {
		if window, _, _ := getConsoleWindow.Call(); window != 0 {
			return fmt.Sprintf("console:%x", window)
		}
		return ""
	}
	var info windows.ByHandleFileInformation
	if windows.GetFileInformationByHandle(handle, &info) != nil || info.FileIndexHigh == 0 && info.FileIndexLow == 0 {
		return ""
	}
	return fmt.Sprintf("%x:%x:%x", info.VolumeSerialNumber, info.FileIndexHigh, info.FileIndexLow)
}

var getConsoleWindow = windows.NewLazySystemDLL("kernel32.dll").NewProc("GetConsoleWindow")

// User names the user whose permissions this process has.
func User() string {
	if u, err := user.Current(); err == nil {
		return u.Username
	}
	return "unknown"
}
