package sandbox

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

const (
	gracePeriod  = 30 * time.Second
	codeLifetime = 5 * time.Minute
)

// scopes are all that a member can grant.
var scopes = []string{
	"read:recovery", "read:cycles", "read:workout", "read:sleep", "read:profile", "read:body_measurement", "offline",
}

// Tokens is a token response, as WHOOP gives it and as [Server.Issue] returns it.
type Tokens struct {
	AccessToken  string `json:"access_token"`
	ExpiresIn    int    `json:"expires_in"`              // seconds
	RefreshToken string `json:"refresh_token,omitempty"` // only with scope offline
	Scope        string `json:"scope"`                   // granted, separated by spaces
	TokenType    string `json:"token_type"`
}

// A grant is a member's consent; all pairs that descend from it are its family.
type grant struct {
	member  *member.Member
	scopes  []string
	given   time.Time
	revoked bool
}

// A pair is an access token and the refresh token that came with it.
type pair struct {
	grant          *grant
	issued         time.Time
	expires        time.Time // the access token
	refreshExpires time.Time // zero: never
	dead           bool      // the access token died of a refresh
	spent          time.Time // when the refresh token was used first, or zero
}

// holds reports whether the member granted a scope; every token holds "".
func (p *pair) holds(scope string) bool { return scope == "" || slices.Contains(p.grant.scopes, scope) }

// A consent is an authorization code and what it was given for.
type consent struct {
	grant       *grant
	redirectURI string
	challenge   string // PKCE, or empty
	method      string
	expires     time.Time
	used        bool
}

// grants holds every code and token ever given out.
type grants struct {
	clientID, clientSecret string

	mu          sync.Mutex
	key         []byte
	issued      uint64
	consents    map[string]*consent
	byAccess    map[string]*pair
	byRefresh   map[string]*pair
	families    map[*grant][]*pair
	withdrawals map[*member.Member][]time.Time // those to come when they were scripted
}

func newGrants(cfg Config) *grants {
	return &grants{
		clientID:     cfg.ClientID,
		clientSecret: cfg.ClientSecret,
		key:          binary.LittleEndian.AppendUint64(nil, uint64(cfg.Seed)),
		consents:     map[string]*consent{},
		byAccess:     map[string]*pair{},
		byRefresh:    map[string]*pair{},
		families:     map[*grant][]*pair{},
		withdrawals:  map[*member.Member][]time.Time{},
	}
}

// Issue gives a fresh pair of the first member without a consent; with no scopes
// named, for all of them and offline. The nth pair of a seed is always the same
// text.
func (s *Server) Issue(granted ...string) Tokens { return s.IssueFor(0, granted...) }

// IssueFor is Issue for the nth member, from 0 on.
func (s *Server) IssueFor(n int, granted ...string) Tokens {
	if len(granted) == 0 {
		granted = scopes
	}
	s.grants.mu.Lock()
	defer s.grants.mu.Unlock()
	now := s.Now()
	return s.grants.issue(&grant{member: s.members[n], scopes: granted, given: now}, now, s.Profile())
}

// Revoke withdraws every member's consents.
func (s *Server) Revoke() {
	now := s.Now()
	for _, m := range s.members {
		s.grants.withdraw(m, now, now)
	}
}

// withdraw ends a member's consents at an instant, as the member can in the
// WHOOP app.
func (g *grants) withdraw(m *member.Member, at, now time.Time) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if at.After(now) {
		g.withdrawals[m] = append(g.withdrawals[m], at)
		return
	}
	for family := range g.families {
		family.revoked = family.revoked || family.member == m
	}
}

// isRevoked reports whether a consent is withdrawn. Callers hold the lock.
func (g *grants) isRevoked(family *grant, now time.Time) bool {
	return family.revoked || slices.ContainsFunc(g.withdrawals[family.member], func(at time.Time) bool {
		return !at.After(now) && family.given.Before(at)
	})
}

// opaque returns the next token: two parts joined by a dot.
func (g *grants) opaque() string {
	g.issued++
	mac := hmac.New(sha256.New, g.key)
	mac.Write(binary.LittleEndian.AppendUint64(nil, g.issued))
	sum := base64.RawURLEncoding.EncodeToString(mac.Sum(nil))
	return sum[:21] + "." + sum[21:]
}

func (g *grants) issue(family *grant, now time.Time, profile Profile) Tokens {
	ttl := time.Duration(cmp.Or(profile.AccessTokenTTL, member.Duration(time.Hour)))
	p := &pair{grant: family, issued: now, expires: now.Add(ttl)}
	if profile.RefreshTokenTTL > 0 {
		p.refreshExpires = now.Add(time.Duration(profile.RefreshTokenTTL))
	}
	g.families[family] = append(g.families[family], p)
	t := Tokens{
		AccessToken: g.opaque(),
		ExpiresIn:   int(ttl.Seconds()),
		Scope:       strings.Join(family.scopes, " "),
		TokenType:   "bearer",
	}
	g.byAccess[t.AccessToken] = p
	if p.holds("offline") {
		t.RefreshToken = g.opaque()
		g.byRefresh[t.RefreshToken] = p
	}
	return t
}

// find returns the pair of an access token and whether the token is good now.
func (g *grants) find(token string, now time.Time) (p *pair, live bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p = g.byAccess[token]
	return p, p != nil && !p.dead && !g.isRevoked(p.grant, now) && now.Before(p.expires)
}

// consent stores what a member agreed to and returns the code for it.
func (g *grants) consent(c consent, now time.Time) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	c.grant.given, c.expires = now, now.Add(codeLifetime)
	code := g.opaque()
	g.consents[code] = &c
	return code
}

// exchange turns a code into tokens, once. A code that comes twice was stolen,
// so the second use ends what the first one got.
func (g *grants) exchange(code, redirectURI, verifier string, now time.Time, profile Profile) (Tokens, *oauthError) {
	g.mu.Lock()
	defer g.mu.Unlock()
	c := g.consents[code]
	switch {
	case c == nil:
		return Tokens{}, invalidGrant("The authorization code is not known.")
	case c.used:
		c.grant.revoked = true
		return Tokens{}, invalidGrant("The authorization code has already been used.")
	case !now.Before(c.expires):
		return Tokens{}, invalidGrant("The authorization code has expired.")
	case c.redirectURI != redirectURI:
		return Tokens{}, invalidGrant("The 'redirect_uri' from this request does not match the one from the authorize request.")
	case !c.proves(verifier):
		return Tokens{}, invalidGrant("The PKCE code challenge did not match the code verifier.")
	}
	c.used = true
	return g.issue(c.grant, now, profile), nil
}

// proves checks PKCE's verifier against the challenge, if there was one.
func (c *consent) proves(verifier string) bool {
	switch {
	case c.challenge == "":
		return true
	case c.method == "S256":
		sum := sha256.Sum256([]byte(verifier))
		verifier = base64.RawURLEncoding.EncodeToString(sum[:])
	}
	return verifier == c.challenge
}

// refresh spends a refresh token: it and every access token of the family die,
// and a new pair is born. Of several requests with one token, one wins. A
// request may name scopes, but only granted ones; it does not change them.
func (g *grants) refresh(token string, named []string, now time.Time, profile Profile) (t Tokens, replay bool, _ *oauthError) {
	g.mu.Lock()
	defer g.mu.Unlock()
	p := g.byRefresh[token]
	switch {
	case p == nil:
		return Tokens{}, false, invalidGrant("The refresh token is not known.")
	case g.isRevoked(p.grant, now):
		return Tokens{}, !p.spent.IsZero(), invalidGrant("The refresh token was revoked.")
	case slices.ContainsFunc(named, func(scope string) bool { return !p.holds(scope) }):
		return Tokens{}, false, invalidScope("The requested scope was not originally granted by the resource owner.")
	case p.spent.IsZero() && !p.refreshExpires.IsZero() && !now.Before(p.refreshExpires):
		return Tokens{}, false, invalidGrant("The refresh token has expired.")
	case p.spent.IsZero():
		return g.rotate(token, p, now, profile), false, nil
	case profile.Reuse == ReuseGrace && now.Before(p.spent.Add(gracePeriod)):
		return g.issue(p.grant, now, profile), true, nil
	case profile.Reuse == ReuseInactive:
		return Tokens{}, true, &oauthError{http.StatusUnauthorized, "token_inactive", "Token is inactive because it is malformed, expired or otherwise invalid. Token validation failed."}
	}
	p.grant.revoked = profile.Reuse == ReuseRevokesFamily
	return Tokens{}, true, invalidGrant("The refresh token has already been used.")
}

// rotate puts a new pair in the place of one. Callers hold the lock.
func (g *grants) rotate(token string, p *pair, now time.Time, profile Profile) Tokens {
	for _, sibling := range g.families[p.grant] {
		sibling.dead = true
	}
	t := g.issue(p.grant, now, profile)
	if profile.RefreshAnswer == RefreshKeeps {
		delete(g.byRefresh, t.RefreshToken)
		g.byRefresh[token] = g.byAccess[t.AccessToken]
	} else {
		p.spent = now
	}
	if profile.RefreshAnswer != RefreshRotates {
		t.RefreshToken = ""
	}
	return t
}
