package spec

import (
	"encoding/json"
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// variable matches a reference to an environment variable, ${NAME}, and one that is
// meant as text, $${NAME}.
var variable = regexp.MustCompile(`\$?\$\{[A-Za-z_][A-Za-z0-9_]*\}`)

// ExpandVariables replaces each ${NAME} in the strings of a configuration with the
// environment variable NAME, and each $${NAME} with the text ${NAME}. Any other "${"
// stays as it is. Its error is a [protocol.ConfigError] that names each variable that is not set
// and the key that refers to it.
//
// It changes nothing where Airbyte's platform runs the program: who writes a
// configuration there is not who owns the environment, which can hold the credentials
// of the platform, and a password typed into a form means what it says.
func ExpandVariables(config json.RawMessage, getenv func(string) string) (json.RawMessage, error) {
	if getenv == nil || onPlatform(getenv) {
		return config, nil
	}
	value, err := decodeAny(config)
	if err != nil {
		return nil, err
	}
	e := expansion{getenv: getenv}
	value = e.expand("", value)
	switch {
	case len(e.missing) > 0:
		return nil, &protocol.Error{Kind: protocol.ConfigError, Message: strings.Join(e.missing, " ")}
	case !e.changed:
		return config, nil
	}
	return json.Marshal(value)
}

// onPlatform reports whether Airbyte's platform started the program. It sets the first
// variable for spec, check and discover, and the others for read and write.
func onPlatform(getenv func(string) string) bool {
	return getenv("WORKLOAD_ID") != "" || getenv("WORKER_JOB_ID") != "" || getenv("WORKER_CONNECTOR_IMAGE") != ""
}

type expansion struct {
	getenv  func(string) string
	changed bool
	missing []string // a sentence each
}

// expand returns the value at a path of the configuration with its variables.
func (e *expansion) expand(path string, value any) any {
	switch v := value.(type) {
	case string:
		return variable.ReplaceAllStringFunc(v, func(reference string) string {
			e.changed = true
			if text, escaped := strings.CutPrefix(reference, "$$"); escaped {
				return "$" + text
			}
			name := reference[len("${") : len(reference)-len("}")]
			text := e.getenv(name)
			if text == "" {
				e.missing = append(e.missing, fmt.Sprintf("The configuration's %q refers to the environment variable %s, which is not set. "+
					"Set it, or write $${%[2]s} if the value is meant to contain ${%[2]s}.", path, name))
			}
			return text
		})
	case map[string]any:
		for _, key := range slices.Sorted(maps.Keys(v)) {
			v[key] = e.expand(join(path, key), v[key])
		}
	case []any:
		for i, item := range v {
			v[i] = e.expand(fmt.Sprintf("%s.%d", path, i), item)
		}
	}
	return value
}
