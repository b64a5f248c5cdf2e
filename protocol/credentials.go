package protocol

import (
	"net/url"
	"regexp"
	"strings"
)

// assignment is how URLs and connection strings of databases give a secret.
var assignment = regexp.MustCompile(`(?i)(?:pass(?:word|wd|phrase)|pwd|secret|token|signature|credential|api[_-]?key|secret[_-]?key)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|([^&;\s']+))`)

// credentialsIn returns what is secret in a value that is a URL, or was meant
// as one, wherever it was put: the password, or a user of http that has none,
// and the parameters whose names say so. As values that are not well-formed are
// those that errors show, the part before the last @ counts, whatever is in it.
func credentialsIn(text string) []string {
	var found []string
	add := func(secret, marked string) {
		if len(secret) < minSecret {
			secret = marked // short as it is, it is known by its place
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
