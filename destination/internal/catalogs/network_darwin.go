package catalogs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// networkFilesystem names the file system of a directory if it is one of the
// network; "" if it is not.
func networkFilesystem(dir string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", fmt.Errorf("asking for the file system of %s: %w", dir, err)
	}
	if s.Flags&unix.MNT_LOCAL != 0 {
		return "", nil
	}
	return unix.ByteSliceToString(s.Fstypename[:]), nil
}
