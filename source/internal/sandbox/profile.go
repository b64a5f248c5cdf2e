package sandbox

import (
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// A Profile says how the server behaves where WHOOP's behaviour is not
// documented, has been seen to vary or may change. The zero value is what the
// documentation promises, and where it is silent, the choice named first.
// In JSON, fields may be left out.
type Profile struct {
	Consent           Consent  `json:"consent,omitzero"`
	DenialIsForbidden bool     `json:"denial_is_forbidden,omitzero"` // a denial is request_forbidden, not access_denied
	WithheldScopes    []string `json:"withheld_scopes,omitzero"`     // the member grants all scopes but these
	ForgedState       bool     `json:"forged_state,omitzero"`        // the browser comes back with a state that nobody sent

	AccessTokenTTL  member.Duration `json:"access_token_ttl,omitzero"`  // 0: one hour
	RefreshTokenTTL member.Duration `json:"refresh_token_ttl,omitzero"` // 0: until it is used
	Reuse           ReuseMode       `json:"reuse,omitzero"`
	RefreshAnswer   RefreshAnswer   `json:"refresh_answer,omitzero"`
	ExpiresIn       ExpiresIn       `json:"expires_in,omitzero"`

	// Skew is how far the server's clock is ahead of Config.Clock, for a client
	// that goes by the latter.
	Skew member.Duration `json:"skew,omitzero"`
	// Tick is how far each request to WHOOP moves Config.Clock before it is
	// served, so that time passes and events happen between two pages.
	Tick member.Duration `json:"tick,omitzero"`

	KeysetTokens       bool            `json:"keyset_tokens,omitzero"` // page tokens name the last record, not its offset
	LastToken          LastToken       `json:"last_token,omitzero"`
	TokenAfterFullPage bool            `json:"token_after_full_page,omitzero"` // though nothing follows: it leads to an empty page
	EmptyPages         bool            `json:"empty_pages,omitzero"`           // every other page is empty, with a token that leads on
	ShortPages         bool            `json:"short_pages,omitzero"`           // pages hold half of the limit and lead on
	RepeatedToken      bool            `json:"repeated_token,omitzero"`        // the second page's token leads to the second page
	PageTokenTTL       member.Duration `json:"page_token_ttl,omitzero"`        // 0: forever; later the token is refused with 400
	WindowBoundTokens  bool            `json:"window_bound_tokens,omitzero"`   // 400 for a token with another start or end; else the position is taken in the other window
	LimitRefused       bool            `json:"limit_refused,omitzero"`         // 400 for a limit above 25; else it means 25
	DatesIgnored       bool            `json:"dates_ignored,omitzero"`         // a malformed start or end counts as absent; else 400
	ExclusiveStart     bool            `json:"exclusive_start,omitzero"`       // a record that ends at start itself is left out
	InclusiveEnd       bool            `json:"inclusive_end,omitzero"`         // a record that begins at end itself is included

	member.Shape

	RequestsPerMinute  int         `json:"requests_per_minute,omitzero"` // 0: as in Config; negative: unlimited
	RequestsPerDay     int         `json:"requests_per_day,omitzero"`
	SlidingWindows     bool        `json:"sliding_windows,omitzero"`      // else a window opens with a request and closes as a whole
	TokenRequestsCount bool        `json:"token_requests_count,omitzero"` // the token endpoint counts towards the limits
	RetryAfter         bool        `json:"retry_after,omitzero"`          // 429 carries Retry-After
	RateHeaders        RateHeaders `json:"rate_headers,omitzero"`

	MissingScopeForbidden bool        `json:"missing_scope_forbidden,omitzero"` // 403 for a missing scope, not 401
	ErrorBodies           ErrorBodies `json:"error_bodies,omitzero"`
	DefaultAgentsBlocked  bool        `json:"default_agents_blocked,omitzero"` // 403 and HTML for the User-Agent of HTTP libraries
	Gzip                  bool        `json:"gzip,omitzero"`                   // for clients that accept it
}

// Consent is what becomes of a request at the authorization endpoint.
type Consent string

const (
	ConsentAsked   Consent = ""      // the page asks the member
	ConsentGranted Consent = "grant" // granted by the first member without a page
	ConsentDenied  Consent = "deny"  // denied without a page
)

// A ReuseMode is what becomes of a refresh token that is sent a second time.
// WHOOP documents only that the second request fails.
type ReuseMode string

const (
	ReuseRefused       ReuseMode = ""               // the request fails, the newest pair lives on
	ReuseRevokesFamily ReuseMode = "revokes_family" // the request fails and the newest pair dies too
	ReuseGrace         ReuseMode = "grace"          // for gracePeriod it gives yet another pair, then it is refused
	ReuseInactive      ReuseMode = "token_inactive" // as ReuseRefused, but as Ory Hydra says it: token_inactive with status 401
)

// RefreshAnswer is what a refresh does to the refresh token.
type RefreshAnswer string

const (
	RefreshRotates RefreshAnswer = ""      // the old one dies, the answer holds a new one
	RefreshKeeps   RefreshAnswer = "keeps" // the answer holds none: the old one stays good
	RefreshLoses   RefreshAnswer = "loses" // the answer holds none, and the old one dies
)

// ExpiresIn is how a token response tells its lifetime.
type ExpiresIn string

const (
	ExpiresInNumber  ExpiresIn = ""
	ExpiresInText    ExpiresIn = "text"
	ExpiresInMissing ExpiresIn = "missing"
)

// LastToken is what the last page has for a next_token.
type LastToken string

const (
	LastTokenVaries  LastToken = "" // null for cycles and sleeps, absent for the others
	LastTokenOmitted LastToken = "omitted"
	LastTokenNull    LastToken = "null"
	LastTokenEmpty   LastToken = "empty"
)

// RateHeaders is the state of the headers that tell what is left of the limits.
type RateHeaders string

const (
	RateHeadersSent      RateHeaders = ""
	RateHeadersMissing   RateHeaders = "missing"
	RateHeadersMalformed RateHeaders = "malformed"
)

// ErrorBodies is what answers of the API from 400 on hold.
type ErrorBodies string

const (
	ErrorBodiesVary  ErrorBodies = "" // a line of text for some, nothing for most
	ErrorBodiesEmpty ErrorBodies = "empty"
	ErrorBodiesText  ErrorBodies = "text"
	ErrorBodiesJSON  ErrorBodies = "json"
	ErrorBodiesHTML  ErrorBodies = "html"
)

// check names the first field with a value that means nothing.
func (p Profile) check() error {
	for _, f := range []struct {
		name    string
		value   string
		meaning []string
	}{
		{"consent", string(p.Consent), []string{"grant", "deny"}},
		{"reuse", string(p.Reuse), []string{"revokes_family", "grace", "token_inactive"}},
		{"refresh_answer", string(p.RefreshAnswer), []string{"keeps", "loses"}},
		{"expires_in", string(p.ExpiresIn), []string{"text", "missing"}},
		{"last_token", string(p.LastToken), []string{"omitted", "null", "empty"}},
		{"missing_values", string(p.MissingValues), []string{"null", "absent"}},
		{"rate_headers", string(p.RateHeaders), []string{"missing", "malformed"}},
		{"error_bodies", string(p.ErrorBodies), []string{"empty", "text", "json", "html"}},
	} {
		if f.value != "" && !slices.Contains(f.meaning, f.value) {
			return fmt.Errorf("%s cannot be %q", f.name, f.value)
		}
	}
	return nil
}

// over returns the base with the fields that p sets.
func (p Profile) over(base Profile) Profile {
	base.WithheldScopes = slices.Clone(base.WithheldScopes) // which decoding would overwrite
	if err := json.Unmarshal(encode(p), &base); err != nil {
		panic(fmt.Sprintf("sandbox: laying a profile over another: %v", err))
	}
	return base
}

// Profile returns the profile in force.
func (s *Server) Profile() Profile { return *s.profile.Load() }

// SetProfile puts a profile into force. Records change their shape at once,
// without a new updated_at.
func (s *Server) SetProfile(p Profile) error {
	if err := p.check(); err != nil {
		return err
	}
	s.profile.Store(&p)
	for _, m := range s.members {
		m.Reshape(s.Now(), p.Shape)
	}
	return nil
}

// Now returns the time on the server's clock, by which records appear and
// tokens expire.
func (s *Server) Now() time.Time { return s.clock.Now().Add(time.Duration(s.Profile().Skew)) }
