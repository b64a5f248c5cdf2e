package sandbox

import (
	"maps"
	"sync"
)

// An Audit counts what clients did since the sandbox opened.
type Audit struct {
	// Requests counts by method and route, such as
	// "GET /developer/v2/cycle/{cycleId}"; those to no route count as "unknown".
	Requests map[string]int `json:"requests"`

	Exchanges     int `json:"exchanges"`      // codes turned into tokens
	Refreshes     int `json:"refreshes"`      // refresh tokens spent
	SpentReplays  int `json:"spent_replays"`  // spent refresh tokens sent again
	DeadTokens    int `json:"dead_tokens"`    // API requests with an access token that was good once
	UnknownTokens int `json:"unknown_tokens"` // API requests with one that never was, or with none
	MissingScopes int `json:"missing_scopes"` // API requests refused for want of a scope
	RateLimited   int `json:"rate_limited"`   // API requests refused by a rate limit
	Faults        int `json:"faults"`         // answers broken by the script
}

type audit struct {
	mu sync.Mutex
	Audit
}

func (a *audit) count(update func(*Audit)) {
	a.mu.Lock()
	defer a.mu.Unlock()
	update(&a.Audit)
}

// Audit returns the counts so far.
func (s *Server) Audit() Audit {
	s.audit.mu.Lock()
	defer s.audit.mu.Unlock()
	counts := s.audit.Audit
	counts.Requests = maps.Clone(counts.Requests)
	return counts
}
