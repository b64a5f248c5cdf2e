// Package config is the source's configuration: its schema, its defaults, what
// makes one valid, and how new tokens get into it.
package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
)

// A Config is the user's configuration.
type Config struct {
	Credentials        Credentials `json:"credentials" jsonschema:"required,title=Credentials"`
	StartDate          string      `json:"start_date" jsonschema:"title=Start date"`
	LookbackDays       int         `json:"lookback_days" jsonschema:"title=Lookback in days,default=14,minimum=0,maximum=365"`
	ReconcileEveryDays int         `json:"reconcile_every_days" jsonschema:"title=Days between full walks,default=7,minimum=0"`
	Drilldowns         string      `json:"drilldowns" jsonschema:"title=How by-id and for-cycle streams are read,enum=derive,enum=request,default=derive"`
	RequestsPerSecond  float64     `json:"requests_per_second" jsonschema:"title=Requests per second,default=2,minimum=0.001,maximum=1000"`
	APIURL             string      `json:"api_url" jsonschema:"title=Address of WHOOP,default=https://api.prod.whoop.com,example=http://127.0.0.1:8080"`
}

// Descriptions describes the properties in forms.
func (Config) Descriptions() map[string]string {
	return map[string]string{
		"credentials":          "Where the member's tokens are kept.",
		"start_date":           "The source does not read records that began before this instant. Leave it empty to read all history. If you move it to an earlier date, the next incremental sync also emits what began in between. If you move it to a later date, a stream with a state keeps its earlier start.",
		"lookback_days":        "Every incremental sync reads this many days again, at least 2, because scores come late and members edit records. The lookback grows by itself, up to 30 days, while a record waits for its score, and back to the newest record.",
		"reconcile_every_days": "How often an incremental stream is compared with WHOOP from its beginning, to find changes and deletions that are older than the lookback. This costs about 58 requests per year of history. 0 means never; pages are then read twice, because nothing else would find what they miss.",
		"drilldowns":           "derive: from the collections, without more requests; WHOOP sends the same fields in both. request: with one request for each record that is new or has changed, and for a for-cycle stream one for each cycle of the lookback in every sync.",
		"requests_per_second":  "The source sends no more than this. WHOOP allows 100 requests a minute and 10000 a day for all members of one client together. The source slows down by itself when it comes near these limits.",
		"api_url":              "Scheme and host of the API and its OAuth server. Change it only to use a sandbox.",
	}
}

// The values of drilldowns.
const (
	Request = "request"
	Derive  = "derive"
)

const instantPattern = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`

// Default is the configuration before the user's is read into it.
func Default() Config {
	return Config{
		LookbackDays:       14,
		ReconcileEveryDays: 7,
		Drilldowns:         Derive,
		RequestsPerSecond:  2,
		APIURL:             "https://api.prod.whoop.com",
	}
}

// JSONSchemaExtend says what tags cannot.
func (Config) JSONSchemaExtend(s *jsonschema.Schema) { instant(s, "start_date") }

func property(s *jsonschema.Schema, name string) *jsonschema.Schema {
	p, ok := s.Properties.Get(name)
	if !ok {
		panic("no property is called " + name)
	}
	return p
}

func instant(s *jsonschema.Schema, name string) {
	p := property(s, name)
	p.Format = "date-time"
	p.Pattern = instantPattern
	p.Examples = []any{"2024-01-01T00:00:00Z"}
	p.Extras = map[string]any{"pattern_descriptor": "YYYY-MM-DDTHH:mm:ssZ"}
}

// Settings are a valid configuration.
type Settings struct {
	Config
	Start time.Time // zero: all history
	raw   json.RawMessage
}

// Parse reads and validates a configuration. Its error is a ConfigError that names
// every key that is wrong, and the remedy.
func Parse(raw json.RawMessage) (Settings, error) {
	s := Settings{Config: Default(), raw: raw}
	err := spec.DecodeConfig(raw, &s.Config)
	if err != nil && !errors.As(err, new(spec.WrongTypes)) {
		return s, err
	}
	faults := []error{spec.CheckConfig(raw, Config{}), s.Credentials.Validate()}
	start, fault := parseInstant("start_date", s.StartDate)
	faults = append(faults, fault)
	_, fault = parseInstant("credentials.token_expiry_date", s.Credentials.TokenExpiryDate)
	faults = append(faults, fault)
	switch {
	case !IsOrigin(s.APIURL):
		faults = append(faults, invalid("api_url", "must be a scheme and a host without a path, such as https://api.prod.whoop.com"))
	case !IsConfidential(s.APIURL):
		faults = append(faults, invalid("api_url", "begins with http://, which would show the tokens to others on the network. Only an address of this machine may, such as http://127.0.0.1:8080"))
	}
	s.Start, s.APIURL = start, strings.TrimRight(s.APIURL, "/")
	return s, spec.JoinFaults(err, faults...)
}

// IsOrigin reports whether text is a scheme and a host and no more.
func IsOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && HasValidPort(u) &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil
}

// HasValidPort reports whether a URL has no port or one from 1 to 65535.
func HasValidPort(u *url.URL) bool {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && n > 0
}

// IsConfidential reports whether nobody else can read the requests to an origin:
// they are encrypted, or do not leave this machine.
func IsConfidential(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && (u.Scheme == "https" || isLoopback(u.Hostname()))
}

// IsLocal reports whether an origin is on this machine.
func IsLocal(origin string) bool {
	u, err := url.Parse(origin)
	return err == nil && isLoopback(u.Hostname())
}

func isLoopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

func parseInstant(key, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	t = t.UTC()
	if err != nil || t.Year() < 1 || t.Year() > 9999 { // other years cannot be written
		return t, invalid(key, "is %q. It must be an instant such as 2024-01-01T00:00:00Z", text)
	}
	return t, nil
}

func invalid(key, format string, args ...any) error {
	return &protocol.Error{Kind: protocol.ConfigError, Message: fmt.Sprintf("The configuration's %q %s.", key, fmt.Sprintf(format, args...))}
}

// Write replaces a file with a configuration, or with another value, as JSON.
func Write(path string, value any) error {
	data, err := json.MarshalIndent(value, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	if err := tokens.WriteFile(path, append(data, '\n')); err != nil {
		return fmt.Errorf("writing %s: %w", path, err)
	}
	return nil
}
