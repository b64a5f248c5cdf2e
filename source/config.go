package main

import (
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/invopop/jsonschema"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A config is the user's configuration.
type config struct {
	Credentials        credentials `json:"credentials" jsonschema:"required,title=Credentials" jsonschema_description:"Where the member's tokens are kept."`
	StartDate          string      `json:"start_date" jsonschema:"title=Start date" jsonschema_description:"Records that began before this instant are not read. Leave it away to read all there is. Setting it earlier later on starts the streams over."`
	LookbackDays       int         `json:"lookback_days" jsonschema:"title=Lookback in days,default=14,minimum=0,maximum=365" jsonschema_description:"How far back every incremental sync reads again, for scores that come late and records that the member edits. It reaches further on its own while a record is open or waits for its score."`
	ReconcileEveryDays int         `json:"reconcile_every_days" jsonschema:"title=Full walk every so many days,default=7,minimum=0" jsonschema_description:"How often an incremental stream is compared with WHOOP from its beginning, to find changes and deletions older than the lookback. It costs about 58 requests for a year of history. 0: never."`
	Drilldowns         string      `json:"drilldowns" jsonschema:"title=How the by-id and for-cycle streams are read,enum=derive,enum=request,default=derive" jsonschema_description:"derive: from the collections, without a request; WHOOP sends the same fields in both. request: one request for every record that is new or changed."`
	RequestsPerSecond  float64     `json:"requests_per_second" jsonschema:"title=Requests per second,default=2,minimum=0.001,maximum=1000" jsonschema_description:"No more than this. WHOOP allows 100 requests a minute and 10000 a day to all members of one client together; the connector slows down on its own as that comes near."`
	APIURL             string      `json:"api_url" jsonschema:"title=Address of WHOOP,default=https://api.prod.whoop.com,example=http://127.0.0.1:8080" jsonschema_description:"Where the API and its OAuth server are, for use with a sandbox. Scheme and host only."`
}

const (
	request = "request"
	derive  = "derive"
)

const instantPattern = `^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]+)?(Z|[+-][0-9]{2}:[0-9]{2})$`

func defaults() config {
	return config{
		LookbackDays:       14,
		ReconcileEveryDays: 7,
		Drilldowns:         derive,
		RequestsPerSecond:  2,
		APIURL:             "https://api.prod.whoop.com",
	}
}

func (config) JSONSchemaExtend(s *jsonschema.Schema) {
	order(s)
	instant(s, "start_date")
}

func property(s *jsonschema.Schema, name string) *jsonschema.Schema {
	p, ok := s.Properties.Get(name)
	if !ok {
		panic("no property is called " + name)
	}
	return p
}

func extra(s *jsonschema.Schema, key string, value any) {
	if s.Extras == nil {
		s.Extras = map[string]any{}
	}
	s.Extras[key] = value
}

// order lets forms show the properties as the struct declares them.
func order(s *jsonschema.Schema) {
	n := 0
	for p := s.Properties.Oldest(); p != nil; p = p.Next() {
		extra(p.Value, "order", n)
		n++
	}
}

func instant(s *jsonschema.Schema, name string) {
	p := property(s, name)
	p.Format = "date-time"
	p.Pattern = instantPattern
	p.Examples = []any{"2024-01-01T00:00:00Z"}
	extra(p, "pattern_descriptor", "YYYY-MM-DDTHH:mm:ssZ")
}

// settings are a configuration that was found good.
type settings struct {
	config
	start time.Time // zero: all history
	raw   json.RawMessage
}

// parseConfig reads and validates a configuration. Its error is a Config error
// that names the key and the remedy.
func parseConfig(raw json.RawMessage) (settings, error) {
	s := settings{config: defaults(), raw: raw}
	if err := protocol.DecodeConfig(raw, &s.config); err != nil {
		return s, err
	}
	if err := s.Credentials.validate(); err != nil {
		return s, err
	}
	var err error
	if s.start, err = parseInstant("start_date", s.StartDate); err != nil {
		return s, err
	}
	if _, err := parseInstant("credentials.token_expiry_date", s.Credentials.TokenExpiryDate); err != nil {
		return s, err
	}
	switch {
	case s.LookbackDays < 0 || s.LookbackDays > 365:
		return s, wrong("lookback_days", "is %d; it must be from 0 to 365", s.LookbackDays)
	case s.ReconcileEveryDays < 0:
		return s, wrong("reconcile_every_days", "is %d; it must be 0 (never) or more", s.ReconcileEveryDays)
	case s.Drilldowns != request && s.Drilldowns != derive:
		return s, wrong("drilldowns", "is %q; it must be %q or %q", s.Drilldowns, request, derive)
	case s.RequestsPerSecond < 0.001 || s.RequestsPerSecond > 1000:
		return s, wrong("requests_per_second", "is %v; it must be from 0.001 to 1000", s.RequestsPerSecond)
	case !isOrigin(s.APIURL):
		return s, wrong("api_url", "must be a scheme and a host, such as https://api.prod.whoop.com; the paths below it are known")
	case !confidential(s.APIURL):
		return s, wrong("api_url", "begins with http://, which would show the tokens to whoever is on the way; only an address of this machine may, such as http://127.0.0.1:8080")
	}
	s.APIURL = strings.TrimRight(s.APIURL, "/")
	return s, nil
}

// isOrigin tells whether text is a scheme and a host and no more.
func isOrigin(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "https" || u.Scheme == "http") && u.Hostname() != "" && hasGoodPort(u) &&
		strings.Trim(u.Path, "/") == "" && u.RawQuery == "" && u.Fragment == "" && u.User == nil
}

// hasGoodPort reports whether a URL's port, if it has one, is that of an address.
func hasGoodPort(u *url.URL) bool {
	n, err := strconv.ParseUint(u.Port(), 10, 16)
	return u.Port() == "" || err == nil && n > 0
}

// confidential reports whether requests to an origin can be read by nobody else:
// they are encrypted, or do not leave this machine.
func confidential(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil || u.Scheme == "https" {
		return err == nil
	}
	ip := net.ParseIP(u.Hostname())
	return u.Hostname() == "localhost" || ip != nil && ip.IsLoopback()
}

func parseInstant(key, text string) (time.Time, error) {
	if text == "" {
		return time.Time{}, nil
	}
	t, err := time.Parse(time.RFC3339, text)
	t = t.UTC()
	if err != nil || t.Year() < 1 || t.Year() > 9999 { // others cannot be written
		return t, wrong(key, "is %q; it must be an instant such as 2024-01-01T00:00:00Z", text)
	}
	return t, nil
}

func wrong(key, format string, args ...any) error {
	return &protocol.Error{Kind: protocol.ConfigError, Message: fmt.Sprintf("The configuration's %s %s.", key, fmt.Sprintf(format, args...))}
}
