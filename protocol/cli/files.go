package cli

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/internal/jsonerrors"
	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

func (r *run) readConfig(path string) error {
	data, err := r.loadConfig(path)
	if err != nil {
		return err
	}
	r.config = data
	for _, warning := range spec.UnknownKeys(r.schema(), data) {
		if err := r.out.Log("WARN", warning); err != nil {
			return err
		}
	}
	return nil
}

// loadConfig reads a configuration and replaces the variables in it. It redacts the
// secrets before anything can be written about it.
func (r *run) loadConfig(path string) (json.RawMessage, error) {
	data, err := r.configText(path)
	if err != nil {
		return nil, err
	}
	var object map[string]json.RawMessage
	if err := json.Unmarshal(data, &object); err != nil || object == nil {
		if err == nil {
			err = errors.New("it is null")
		}
		return nil, protocol.ConfigError.Errorf(nil, "The config file %s is not a JSON object: %s.", path, jsonerrors.Reason(err))
	}
	if key := spec.RepeatedKey(data); key != "" {
		return nil, protocol.ConfigError.Errorf(nil, "The config file %s has the key %q twice. Leave one.", path, key)
	}
	if data, err = spec.ExpandVariables(data, r.env.Getenv); err != nil {
		return nil, err
	}
	r.secrets.Add(spec.Secrets(r.schema(), data)...)
	return data, nil
}

// configText reads the file at a path, or standard input if that is "-".
func (r *run) configText(path string) ([]byte, error) {
	if path != "-" {
		return readFile(path, "config")
	}
	if terminal.Is(r.env.Stdin) {
		fmt.Fprintln(r.env.Stderr, "Type or paste the configuration, then press "+endOfInput+".")
	}
	data, err := io.ReadAll(r.env.Stdin)
	if err != nil {
		return nil, protocol.ConfigError.Errorf(err, "The configuration cannot be read from standard input: %v.", err)
	}
	return decodeText(data, path, "config")
}

// ReadConfiguredCatalog reads a configured catalog from a file.
func ReadConfiguredCatalog(path string) (protocol.ConfiguredCatalog, error) {
	data, err := readFile(path, "catalog")
	if err != nil {
		return protocol.ConfiguredCatalog{}, err
	}
	return protocol.ParseConfiguredCatalog(data)
}

func (r *run) readStates() ([]protocol.State, error) {
	if *r.paths["state"] == "" {
		return nil, nil
	}
	data, err := readFile(*r.paths["state"], "state")
	if err != nil {
		return nil, err
	}
	return protocol.ParseStates(data)
}

// readFile reads a file without the byte-order mark that some editors write.
func readFile(path, what string) ([]byte, error) {
	if strings.HasPrefix(strings.TrimSpace(path), "{") { // it may contain secrets
		return nil, protocol.ConfigError.Errorf(nil, "Give --%s the path of a file, not its content.", what)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, unreadable(what, err)
	}
	return decodeText(data, path, what)
}

// unreadable is the error for a file that the user gave.
func unreadable(what string, err error) error {
	message := fmt.Sprintf("The %s file cannot be read: %v.", what, err)
	if errors.Is(err, fs.ErrPermission) { // as in a container, which has a user of its own
		message += " Make it readable for this program's user (" + osfile.User() + ")."
	}
	return &protocol.Error{Kind: protocol.ConfigError, Message: message, Err: err}
}

// decodeText returns the text of a file without its byte-order mark.
func decodeText(data []byte, path, what string) ([]byte, error) {
	if encoding := rawjson.Encoding(data[:min(len(data), 120)]); encoding != "" {
		return nil, protocol.ConfigError.Errorf(nil, "The %s file %s is %s but must be JSON in UTF-8. "+
			"Windows PowerShell before 7.4 writes such files with >: write it in cmd, or in a newer PowerShell.", what, path, encoding)
	}
	return bytes.TrimPrefix(data, []byte(rawjson.ByteOrderMark)), nil
}
