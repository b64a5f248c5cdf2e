package tokens

import (
	"io/fs"
	"os"
)

// keepOwner has nothing to do here: who may use a file follows from its directory.
func keepOwner(*os.File, fs.FileInfo, fs.FileMode) error { return nil }
