package cli

import (
	"encoding/json"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/internal/progress"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// Env is the process that a run belongs to. Tests make their own.
type Env struct {
	Name           string   // of the program, as it was called: bin/source; "": source or destination
	Args           []string // without the program's name
	Stdin          io.Reader
	Stdout, Stderr io.Writer
	Getenv         func(string) string // nil: no environment

	// Summary says in a sentence what the program does. The program sets it; its help
	// begins with it.
	Summary string

	// Of a Command that asks for it.
	Config   json.RawMessage
	Progress *progress.Progress
	Secrets  *redact.Redactor // those of the configuration; standard error has none of them anyway
}

// neighbour is how a program is called that is in the same directory.
func (e Env) neighbour(program string) string {
	dir, _ := filepath.Split(e.Name)
	return dir + program
}

// secrets are those in the variables that libraries read and may quote in errors.
func (e Env) secrets() []string {
	if e.Getenv == nil {
		return nil
	}
	secrets := []string{e.Getenv("AWS_SECRET_ACCESS_KEY"), e.Getenv("AWS_SESSION_TOKEN"), e.Getenv("PGPASSWORD")}
	for _, address := range []string{
		"HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy",
		"OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_METRICS_ENDPOINT",
	} {
		secrets = append(secrets, redact.CredentialsIn(e.Getenv(address))...)
	}
	for _, headers := range []string{"OTEL_EXPORTER_OTLP_HEADERS", "OTEL_EXPORTER_OTLP_METRICS_HEADERS"} {
		secrets = append(secrets, headerSecrets(e.Getenv(headers))...)
	}
	return secrets
}

// headerSecrets are the values in a list such as "api-key=abc,authorization=Bearer%20def",
// and those without the scheme. What is not of that form is a secret as a whole.
func headerSecrets(headers string) (secrets []string) {
	for header := range strings.SplitSeq(headers, ",") {
		value := header
		if _, after, ok := strings.Cut(header, "="); ok {
			value = after
		}
		secrets = append(secrets, strings.TrimSpace(value))
		decoded, err := url.PathUnescape(value)
		if err != nil {
			continue
		}
		secrets = append(secrets, strings.TrimSpace(decoded))
		if words := strings.Fields(decoded); len(words) > 1 {
			secrets = append(secrets, words[len(words)-1])
		}
	}
	return secrets
}

// screen is standard error. The line that changes is only for a program that is no part
// of a pipe, and whose messages are not on the terminal too.
func (e Env) screen(messages bool) *terminal.Screen {
	in, out := fileMode(e.Stdin), fileMode(e.Stdout)
	const shared = os.ModeNamedPipe | os.ModeSocket
	alone := (in|out)&shared == 0 && !(messages && terminal.Is(e.Stdout))
	return terminal.NewScreen(e.Stderr, alone, e.Getenv)
}

func fileMode(stream any) os.FileMode {
	if file, ok := stream.(*os.File); ok {
		if info, err := file.Stat(); err == nil {
			return info.Mode()
		}
	}
	return 0
}

// identity returns what only one open terminal, pipe or file of this machine has; "" if
// w is none.
func identity(w any) string {
	file, ok := w.(*os.File)
	if !ok {
		return ""
	}
	return osfile.Identity(file)
}

// isRegularFile reports whether r is a file that stays where it is, not a pipe.
func isRegularFile(r any) bool {
	file, ok := r.(*os.File)
	if !ok {
		return false
	}
	info, err := file.Stat()
	return err == nil && info.Mode().IsRegular()
}
