package snapshots

import (
	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"
)

// A Change is what one commit does to the files of a table. The library has an
// operation for some of the combinations, but none for all of them in one
// snapshot and none that limits the number of manifests. So the snapshot is
// written here, with the library's manifest writers.
type Change struct {
	Operation       table.Operation
	Add             []iceberg.DataFile   // data files and position delete files
	removed         map[FileKey]struct{} // live data files and delete files
	touched         map[string]struct{}  // paths of the manifests that name them
	Written         []string             // files that were written for this attempt alone
	SupersededFiles []string             // files that nothing needs once the change is committed
	Forced          bool                 // make a snapshot even when no file changes
	OmitRemoved     bool                 // name no removed file in a manifest, whose entry has the bounds of its values

	// Data sequence numbers, by path, of added files whose rows were in the table
	// before. Other files get the number of the snapshot.
	Sequences map[string]int64
}

// RemoveFile removes a data file with its delete files.
func (c *Change) RemoveFile(f *LiveFile) {
	c.Remove(f.Data, f.Manifest)
	c.RemoveDeletes(f)
}

// RemoveDeletes removes the delete files of a data file.
func (c *Change) RemoveDeletes(f *LiveFile) {
	for _, d := range f.Deletes {
		c.Remove(d.Data, d.Manifest)
	}
}

// Remove removes a data file or delete file that a manifest names.
func (c *Change) Remove(data iceberg.DataFile, manifest string) {
	if c.removed == nil {
		c.removed, c.touched = map[FileKey]struct{}{}, map[string]struct{}{}
	}
	c.removed[KeyOf(data)] = struct{}{}
	c.touched[manifest] = struct{}{}
}

// Rewrite has a manifest written again, without the files that were removed before.
func (c *Change) Rewrite(manifest string) {
	if c.touched == nil {
		c.removed, c.touched = map[FileKey]struct{}{}, map[string]struct{}{}
	}
	c.touched[manifest] = struct{}{}
	c.Forced = true
}

// A FileKey tells the files of a snapshot apart. One Puffin file may hold the
// deletion vectors of several data files, with an entry for each.
type FileKey struct{ path, references string }

// KeyOf returns the key of a file.
func KeyOf(f iceberg.DataFile) FileKey {
	k := FileKey{path: f.FilePath()}
	if ref := f.ReferencedDataFile(); ref != nil && f.FileFormat() == iceberg.PuffinFile {
		k.references = *ref
	}
	return k
}

// IsEmpty reports whether the change makes no snapshot.
func (c *Change) IsEmpty() bool { return !c.Forced && len(c.Add) == 0 && len(c.removed) == 0 }
