// Package sandbox is a stand-in for WHOOP: the OAuth server with its consent
// page, the v2 developer API with its documented limits, and one member whose
// records appear, get scored, change and vanish as real ones do.
//
// The member is a pure function of a seed, of the years since joining and of the
// instant at which one looks. The instant comes from a [Clock] that stands still
// until it is moved, so a test decides when a score arrives. An [Oracle] tells
// what the API shows at any instant, without the API. A script of [Fault] values
// breaks answers on purpose.
//
// Where WHOOP's behaviour is not documented, the choice is written at the code
// that makes it. Nothing here is secret and nothing is kept: tokens are a
// function of the seed and of the order in which they were issued.
//
// Time: everything but the rate limits follows Config.Clock, also the lives of
// tokens and codes. Advancing the clock by a day therefore ends every access
// token. Rate limits follow Config.LimitClock, by default the wall clock, since
// requests take real time while the member's clock may stand.
package sandbox

import (
	"net/http"
	"time"
)

// Config describes a sandbox. The zero value is a member who joined today, under
// WHOOP's documented limits, with no redirect registered.
type Config struct {
	Seed  int64  // chooses the member
	Years int    // of history when the sandbox opens
	Clock *Clock // nil: a running clock that shows the machine's time

	ClientID, ClientSecret string   // empty: "sandbox-client", "sandbox-secret"
	RedirectURIs           []string // registered; a request must match one exactly

	AccessTokenTTL time.Duration // 0: one hour
	Reuse          ReuseMode     // what becomes of a spent refresh token

	RequestsPerMinute, RequestsPerDay int    // 0: 100 and 10,000; negative: unlimited
	LimitClock                        *Clock // nil: the machine's time
}

// A Server is the whole of WHOOP that a client sees, under /developer and
// /oauth/oauth2, and the sandbox's own controls under /sandbox.
type Server struct {
	clock  *Clock
	member *member
	grants *grants
	limits *limiter
	script script
	audit  audit
	mux    *http.ServeMux

	redirectURIs []string
}

// New opens a sandbox. The member joined cfg.Years before the clock's time.
func New(cfg Config) *Server {
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
	if cfg.AccessTokenTTL == 0 {
		cfg.AccessTokenTTL = time.Hour
	}
	s := &Server{
		clock:        cfg.Clock,
		member:       newMember(cfg.Seed, cfg.Clock.Now().AddDate(-cfg.Years, 0, 0).Truncate(day)),
		grants:       newGrants(cfg),
		limits:       newLimiter(cfg),
		mux:          http.NewServeMux(),
		redirectURIs: cfg.RedirectURIs,
	}
	s.audit.Requests = map[string]int{}
	s.serveAPI()
	s.serveOAuth()
	s.serveControls()
	return s
}
