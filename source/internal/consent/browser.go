package consent

import (
	"errors"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// openBrowser opens the member's browser. It is no error that a machine without a
// screen has none, because the address is printed too.
func (a *authorization) openBrowser(url string) error {
	command := []string{"xdg-open", url}
	switch {
	case runtime.GOOS == "darwin":
		command = []string{"open", url}
	case runtime.GOOS == "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", url}
	case a.env("DISPLAY") == "" && a.env("WAYLAND_DISPLAY") == "":
		return nil
	}
	path, err := exec.LookPath(command[0])
	if errors.Is(err, exec.ErrNotFound) {
		return nil
	}
	if err != nil {
		return err
	}
	cmd := exec.Command(path, command[1:]...) //nolint:noctx // the browser outlives this program
	cmd.Env = withoutSecrets(os.Environ())
	if err := cmd.Start(); err != nil {
		return err
	}
	goroutine.Start(cmd.Wait) // the person sees what it does
	return nil
}

// withoutSecrets returns an environment without the variables whose names suggest
// a secret. The browser needs none of them.
func withoutSecrets(environ []string) []string {
	return slices.DeleteFunc(slices.Clone(environ), func(v string) bool {
		name, _, _ := strings.Cut(strings.ToUpper(v), "=")
		return slices.ContainsFunc([]string{"WHOOP_", "AWS_", "SECRET", "TOKEN", "PASSW", "CREDENTIAL", "_KEY"}, func(part string) bool {
			return strings.Contains(name, part)
		})
	})
}
