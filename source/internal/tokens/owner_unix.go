//go:build !windows

package tokens

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"syscall"
)

// keepOwner gives a file of this process the owner and group of another, and a
// mode: a run as root must not lock the owner out. Who may not give a file away
// was let into the other by its group or by everybody, and so will its owner be.
func keepOwner(f *os.File, other fs.FileInfo, mode fs.FileMode) error {
	info, err := f.Stat()
	if err != nil {
		return err
	}
	own, ok := info.Sys().(*syscall.Stat_t)
	theirs, okToo := other.Sys().(*syscall.Stat_t)
	if !ok || !okToo || int(own.Uid) != os.Geteuid() && os.Geteuid() != 0 {
		return nil // not to be known here, or somebody else's to change
	}
	if own.Uid != theirs.Uid || own.Gid != theirs.Gid {
		err := f.Chown(int(theirs.Uid), int(theirs.Gid))
		if err != nil {
			err = f.Chown(-1, int(theirs.Gid))
		}
		// An owner that the user namespace of a container does not know is EINVAL.
		if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EINVAL) {
			return fmt.Errorf("keeping its owner: %w", err)
		}
	}
	if info.Mode().Perm() == mode {
		return nil
	}
	return f.Chmod(mode)
}
