package redact

import (
	"net/url"
	"regexp"
	"strings"
)

// assignment matches a secret in a URL or in a database's connection string.
var assignment = regexp.MustCompile(`(?i)(?:pass(?:word|wd|phrase)|pwd|secret|token|signature|credential|api[_-]?key|secret[_-]?key)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^&;\s']+))`)

// CredentialsIn returns the secrets in a value that is a URL, or looks like one: the
// password, or the user of an http URL without one, and the parameters whose names say
// so. Errors show malformed values, so everything before the last @ counts.
func CredentialsIn(text string) []string {
	var found []string
	add := func(secret, marked string) {
		if len(secret) < minSecret {
			secret = marked // too short to redact without its context
		}
		found = append(found, secret)
		if plain, err := url.PathUnescape(secret); err == nil && plain != secret {
			found = append(found, plain)
		}
	}
	for _, m := range assignment.FindAllStringSubmatch(text, -1) {
		add(m[1]+m[2], m[0])
		if plain, err := url.QueryUnescape(m[2]); err == nil {
			add(plain, m[0])
		}
	}
	scheme, rest, isURL := strings.Cut(text, "://")
	if !isURL {
		scheme, rest = "", text
	}
	authority := rest
	if end := strings.IndexAny(rest, "/?#"); end >= 0 {
		authority = rest[:end]
	}
	userinfos := []string{authority[:max(0, strings.LastIndexByte(authority, '@'))]}
	if last := strings.LastIndexByte(rest, '@'); last > 0 && strings.Contains(authority, ":") {
		userinfos = append(userinfos, rest[:last]) // a slash in the password ends the authority
	}
	for _, userinfo := range userinfos {
		user, password, hasPassword := strings.Cut(userinfo, ":")
		switch {
		case password != "":
			add(password, ":"+password+"@")
		case !hasPassword && user != "" && strings.HasPrefix(strings.ToLower(scheme), "http"):
			add(user, "//"+user+"@")
		}
	}
	return found
}
