// Package osfile has what operating systems do differently with files.
package osfile

import (
	"errors"
	"slices"
	"syscall"
)

// NoSpace reports whether an error says that the disk, or the user's share of it, is full.
func NoSpace(err error) bool {
	return isAny(err, append(noSpace, syscall.ENOSPC, syscall.EDQUOT))
}

// ReadOnly reports whether an error says that a file system cannot be written at all.
func ReadOnly(err error) bool { return isAny(err, append(readOnly, syscall.EROFS)) }

// PipeClosed reports whether an error says that the program at the other end of a pipe reads
// no more.
func PipeClosed(err error) bool { return isAny(err, append(pipeClosed, syscall.EPIPE)) }

func isAny(err error, these []error) bool {
	return slices.ContainsFunc(these, func(this error) bool { return errors.Is(err, this) })
}
