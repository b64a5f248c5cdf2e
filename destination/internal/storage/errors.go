package storage

import (
	"errors"
	"fmt"
	"io/fs"
	"syscall"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// IsFailure reports whether an error is a failure of the storage that another attempt does not
// help against: somebody has to change something, or the storage itself has been asked again
// until it gave up. A file that is not there is none.
func IsFailure(err error) bool {
	return errors.As(err, new(*scratchError)) || osfile.NoSpace(err) || osfile.ReadOnly(err) ||
		errors.Is(err, syscall.EFBIG) || errors.Is(err, fs.ErrPermission) || isS3Failure(err)
}

// Explain finds the remedy for an error of a storage; what names the thing that
// the files belong to, as in "table whoop.sleep". It returns nil for an error
// that it has no remedy for, such as that of a file that is not there.
func Explain(err error, what string) *protocol.Error {
	explained := func(kind protocol.Kind, format string, args ...any) *protocol.Error {
		return &protocol.Error{Kind: kind, Message: fmt.Sprintf(format, append([]any{what}, args...)...), Err: err}
	}
	var scratch *scratchError
	switch {
	case errors.As(err, &scratch) && osfile.NoSpace(err):
		return explained(protocol.TransientError, `There is no space left in %[2]s, where %[1]s needs some until its files are uploaded. Free some, or set "scratch" to another directory.`, scratch.dir)
	case errors.As(err, &scratch):
		return explained(protocol.ConfigError, `The scratch directory %[2]s cannot be written (%[3]v), so files of %[1]s cannot be uploaded. Set "scratch" to a directory that this program's user (%[4]s) can write.`, scratch.dir, scratch.cause, osfile.User())
	case osfile.NoSpace(err):
		return explained(protocol.TransientError, "There is no space left for %s. Free some, then start again.")
	case errors.Is(err, syscall.EFBIG):
		return explained(protocol.ConfigError, "A file of %s may not grow as it has to. Raise this program's limit of file sizes (ulimit -f), or that of the file system.")
	case errors.Is(err, fs.ErrPermission), osfile.ReadOnly(err):
		return explained(protocol.ConfigError, "The files of %s cannot be written. Make the warehouse writable for this program's user (%s).", osfile.User())
	}
	if kind, message := explainS3(err, what); kind != "" {
		return &protocol.Error{Kind: kind, Message: message, Err: err}
	}
	return nil
}
