// Package sandbox is a stand-in for WHOOP: the OAuth server with its consent page,
// the v2 developer API with its documented limits, and the members of package
// member, whose records appear, get scored, change and vanish as real ones do.
//
// The server's instant comes from a [Clock] that stands still until it is moved, so
// a test decides when a score arrives. The oracle of a member returns what the API
// shows at any instant, without the API.
//
// Glossary:
//   - profile: one of the ways in which WHOOP behaves or may behave.
//   - fault: something that breaks answers.
//   - scenario: a profile, faults and events that clients should be tested with; see [Scenarios] and [Random].
//
// Not included are webhooks, which a client that pulls does not need, and an HTTP/2
// GOAWAY that leaves a request unprocessed, which net/http cannot send (it can send
// a graceful one, see [Fault]). To simulate another app of the same member, open
// another Server with the same seed.
//
// Nothing here is secret and nothing is stored: tokens are a function of the seed
// and of the order in which they were issued.
//
// Everything but the rate limits follows Config.Clock, including the lives of tokens
// and codes. Advancing the clock by a day therefore expires every access token. Rate
// limits follow Config.LimitClock, by default the wall clock, because requests take
// real time while the member's clock may stand still.
package sandbox

import (
	"net/http"
	"sync/atomic"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// Config describes a sandbox. The zero value is a member who joined today, under
// WHOOP's documented limits, with no redirect registered.
type Config struct {
	Seed     int64  // chooses the member
	Years    int    // of history when the sandbox opens
	Members  int    // of the app, each with a seed one higher; 0: one
	LargeIDs bool   // ids of cycles and users do not fit into a float64
	Clock    *Clock // nil: a running clock that shows the machine's time

	ClientID, ClientSecret string   // empty: "sandbox-client", "sandbox-secret"
	RedirectURIs           []string // registered; a request must match one exactly

	RequestsPerMinute, RequestsPerDay int    // 0: 100 and 10,000; negative: unlimited
	LimitClock                        *Clock // nil: the machine's time

	Profile Profile // in force at first, and under every scenario
}

// A Server is the whole of WHOOP that a client sees, under /developer and
// /oauth/oauth2, and the sandbox's own controls under /sandbox.
type Server struct {
	clock   *Clock
	base    Profile
	profile atomic.Pointer[Profile]
	members []*member.Member
	grants  *grants
	limits  *limiter
	script  script
	audit   audit
	mux     *http.ServeMux

	redirectURIs []string
}

// New opens a sandbox. Its members joined cfg.Years before the clock's time. It
// panics if cfg.Profile has a value that means nothing.
func New(cfg Config) *Server {
	if err := cfg.Profile.check(); err != nil {
		panic("sandbox: " + err.Error())
	}
	if cfg.Clock == nil {
		cfg.Clock = NewRunningClock(time.Now())
	}
	if cfg.LimitClock == nil {
		cfg.LimitClock = NewRunningClock(time.Now())
	}
	if cfg.ClientID == "" {
		cfg.ClientID = "sandbox-client"
	}
	if cfg.ClientSecret == "" {
		cfg.ClientSecret = "sandbox-secret"
	}
	s := &Server{
		clock:        cfg.Clock,
		base:         cfg.Profile,
		grants:       newGrants(cfg),
		limits:       newLimiter(cfg),
		mux:          http.NewServeMux(),
		redirectURIs: cfg.RedirectURIs,
	}
	s.profile.Store(&cfg.Profile)
	for n := range max(cfg.Members, 1) {
		joined := cfg.Clock.Now().AddDate(-cfg.Years, 0, 0).Truncate(24 * time.Hour)
		s.members = append(s.members, member.New(cfg.Seed+int64(n), joined, member.Options{LargeIDs: cfg.LargeIDs, Shape: cfg.Profile.Shape}))
	}
	s.audit.Requests = map[string]int{}
	s.serveAPI()
	s.serveOAuth()
	s.serveControls()
	return s
}
