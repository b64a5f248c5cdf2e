// Package storage is where the files of a warehouse live.
//
// Whatever its kind, a storage keeps these promises: a file is there as a whole,
// and survives a power cut, once Close or WriteFile has returned; files can be
// read, written and removed after the context that opened the storage has ended,
// because the last commit of a run that is told to stop needs them; a file that
// is not there is [fs.ErrNotExist].
package storage

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	iceio "github.com/apache/iceberg-go/io"
)

// ErrNotCommitted says that the metadata file of a commit could not be written.
// It comes before the catalog is asked, so the table has not changed.
var ErrNotCommitted = errors.New("nothing was committed")

// RemoveAll removes files, all at once where the storage can. A file that is not
// there is none that cannot be removed.
func RemoveAll(ctx context.Context, files iceio.IO, locations []string) error {
	if bulk, ok := files.(iceio.BulkRemovableIO); ok && len(locations) > 0 {
		_, err := bulk.DeleteFiles(ctx, locations)
		return err
	}
	_, err := removeEach(files, locations)
	return err
}

func removeEach(files iceio.IO, locations []string) (removed []string, err error) {
	var errs []error
	for _, location := range locations {
		if err := files.Remove(location); err != nil && !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, fmt.Errorf("removing %s: %w", location, err))
			continue
		}
		removed = append(removed, location)
	}
	return removed, errors.Join(errs...)
}
