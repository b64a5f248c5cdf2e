package catalogs

import (
	"fmt"

	"golang.org/x/sys/windows"
)

// networkFilesystem says that a directory is on a drive of the network; "" if it is not.
func networkFilesystem(dir string) (string, error) {
	path, err := windows.UTF16PtrFromString(dir)
	if err != nil {
		return "", fmt.Errorf("asking for the file system of %s: %w", dir, err)
	}
	volume := make([]uint16, windows.MAX_LONG_PATH)
	if err := windows.GetVolumePathName(path, &volume[0], uint32(len(volume))); err != nil {
		return "", fmt.Errorf("asking for the file system of %s: %w", dir, err)
	}
	if windows.GetDriveType(&volume[0]) == windows.DRIVE_REMOTE {
		return windows.UTF16ToString(volume), nil
	}
	return "", nil
}
