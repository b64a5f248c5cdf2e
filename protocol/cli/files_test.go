package cli

import (
	"io/fs"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
)

// The user of a container is another one than the person's.
func TestAFileThatMayNotBeReadNamesTheUser(t *testing.T) {
	for cause, want := range map[error]string{
		fs.ErrPermission: "The config file cannot be read: open x: permission denied. Make it readable for this program's user (" + osfile.User() + ").",
		fs.ErrNotExist:   "The config file cannot be read: open x: file does not exist.",
	} {
		if got := unreadable("config", &fs.PathError{Op: "open", Path: "x", Err: cause}).Error(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
