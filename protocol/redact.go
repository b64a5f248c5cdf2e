package protocol

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
)

const (
	// minSecret is the length below which a value is not taken for a secret:
	// blotting out every "a" would leave nothing to read.
	minSecret = 4
	// minFragment is the same for parts of a secret: a line, Base64 digits.
	minFragment = 8

	redacted = "****"
)

// Redactor blots secret values out of text: as they are, percent-encoded,
// escaped as in JSON, and in Base64, alone or as part of something longer (as in
// an HTTP Basic header). Of a secret of several lines (a private key) each long
// line is one, of a secret that is a URL the password in it. Values of less than
// four bytes are not taken for secrets.
//
// The zero value knows no secrets. It is safe for concurrent use.
type Redactor struct {
	mu     sync.RWMutex
	values []string // sorted, without duplicates
}

// Add makes the given values secret.
func (r *Redactor) Add(secrets ...string) {
	var found []string
	for _, s := range secrets {
		if len(s) < minSecret {
			continue
		}
		found = appendForms(found, s)
		for line := range strings.Lines(s) {
			if line = strings.TrimSpace(line); len(line) >= minFragment {
				found = append(found, line)
			}
		}
		if u, err := url.Parse(s); err == nil {
			if password, _ := u.User.Password(); len(password) >= minSecret {
				_, encoded, _ := strings.Cut(u.User.String(), ":")
				found = append(appendForms(found, password), encoded)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = append(r.values, found...)
	slices.Sort(r.values)
	r.values = slices.Compact(r.values)
}

// appendForms appends the ways in which s can stand in a text.
func appendForms(dst []string, s string) []string {
	escaped, _ := json.Marshal(s) // a string always encodes
	plain := appendString(nil, s)
	dst = append(dst, s, url.QueryEscape(s), url.PathEscape(s),
		string(escaped[1:len(escaped)-1]), string(plain[1:len(plain)-1]))
	// A Base64 digit depends on its neighbours, so what stands around s and how
	// far s is from a multiple of three bytes matter for the digits at its ends:
	// those are left out.
	for _, encoding := range []*base64.Encoding{base64.RawStdEncoding, base64.RawURLEncoding} {
		for before := range 3 {
			digits := encoding.EncodeToString([]byte(strings.Repeat("\x00", before) + s))
			first, end := (before*8+5)/6, (before+len(s))*8/6
			if end-first >= minFragment {
				dst = append(dst, digits[first:end])
			}
		}
	}
	return dst
}

// Clean returns text without the secrets. Secrets that overlap or touch leave
// one mark.
func (r *Redactor) Clean(text string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	type span struct{ start, end int }
	var spans []span
	for _, v := range r.values {
		for from := 0; ; from++ { // by one, since a value can overlap itself
			i := strings.Index(text[from:], v)
			if i < 0 {
				break
			}
			from += i
			spans = append(spans, span{from, from + len(v)})
		}
	}
	if len(spans) == 0 {
		return text
	}
	slices.SortFunc(spans, func(a, b span) int { return a.start - b.start })
	var b strings.Builder
	done := 0
	for i := 0; i < len(spans); {
		start, end := spans[i].start, spans[i].end
		for ; i < len(spans) && spans[i].start <= end; i++ {
			end = max(end, spans[i].end)
		}
		b.WriteString(text[done:start])
		b.WriteString(redacted)
		done = end
	}
	b.WriteString(text[done:])
	return b.String()
}
