package catalogs

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// networkFilesystems are those that share files between machines, but not the
// memory in which SQLite's write-ahead log keeps its index:
// https://sqlite.org/wal.html. The numbers are those of statfs(2).
var networkFilesystems = map[int64]string{
	unix.NFS_SUPER_MAGIC:  "NFS",
	unix.SMB_SUPER_MAGIC:  "SMB",
	unix.SMB2_SUPER_MAGIC: "SMB",
	unix.CIFS_SUPER_MAGIC: "CIFS",
	unix.CEPH_SUPER_MAGIC: "Ceph",
	unix.AFS_SUPER_MAGIC:  "AFS",
	unix.CODA_SUPER_MAGIC: "Coda",
	0x0BD00BD0:            "Lustre",
	0x47504653:            "GPFS",
	0x7461636F:            "OCFS2",
	0x01161970:            "GFS2",
}

// networkFilesystem names the file system of a directory if it is one of the
// network; "" if it is not.
func networkFilesystem(dir string) (string, error) {
	var s unix.Statfs_t
	if err := unix.Statfs(dir, &s); err != nil {
		return "", fmt.Errorf("asking for the file system of %s: %w", dir, err)
	}
	return networkFilesystems[int64(uint32(s.Type))], nil
}
