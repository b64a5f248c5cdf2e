// Package sandbox is a stand-in for WHOOP: the OAuth server with its consent
// page, the v2 developer API with its documented limits, and members whose
// records appear, get scored, change and vanish as real ones do.
//
// A member is a function of a seed, of the years since joining, of the events
// that were scripted and of the instant at which one looks. The instant comes
// from a [Clock] that stands still until it is moved, so a test decides when a
// score arrives. An [Oracle] tells what the API shows at any instant, without
// the API.
//
// A [Profile] switches between the ways in which WHOOP behaves or may behave, a
// [Fault] breaks answers, an [Event] happens to a member. Those that clients
// should be tested with have names: see [Scenarios] and [Random].
//
// Not here: webhooks, which a client that pulls does without, and over HTTP/2 a
// GOAWAY that leaves a request unprocessed, which net/http cannot send (a
// graceful one it can, see [Fault]). Another app of the same member is another
// Server with the same seed.
//
// Nothing here is secret and nothing is kept: tokens are a function of the seed
// and of the order in which they were issued.
//
// Time: everything but the rate limits follows Config.Clock, also the lives of
// tokens and codes. Advancing the clock by a day therefore ends every access
// token. Rate limits follow Config.LimitClock, by default the wall clock, since
// requests take real time while the member's clock may stand.
package sandbox

import (
	"net/http"
	"sync/atomic"
	"time"
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
	members []*member
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
		m := newMember(cfg.Seed+int64(n), cfg.Clock.Now().AddDate(-cfg.Years, 0, 0).Truncate(day))
		m.shapes[0].Shape = cfg.Profile.Shape
		if cfg.LargeIDs {
			m.ids = 1<<53 + 1
		}
		s.members = append(s.members, m)
	}
	s.audit.Requests = map[string]int{}
	s.serveAPI()
	s.serveOAuth()
	s.serveControls()
	return s
}
