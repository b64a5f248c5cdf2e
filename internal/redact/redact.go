// Package redact removes secrets from text that people or other programs will see.
package redact

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"io"
	"net/url"
	"slices"
	"strings"
	"sync"
)

const (
	// minSecret is the length below which a value is not treated as a secret:
	// replacing every "a" would leave nothing to read.
	minSecret = 4
	// minFragment is the same for parts of a secret: lines and Base64 digits.
	minFragment = 8
	// maxEscapes is how many layers of escapes are undone, as in JSON within JSON
	// within a URL.
	maxEscapes = 3
	// excerptFrom is how much of a text an excerpt is made from.
	excerptFrom = 64 << 10

	redacted = "****"
)

// Redactor removes secret values from text: as they are, in Base64, alone or as part
// of something longer (such as an HTTP Basic header), and with the escapes of JSON, Go,
// URLs and HTML, in several layers. In a secret of several lines (a private key), each
// long line is a secret; in a URL, the password is. Values of less than four bytes are
// not treated as secrets.
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
		for _, value := range append(CredentialsIn(s), s) {
			if len(value) >= minSecret {
				found = appendForms(found, value)
			}
		}
		for line := range strings.Lines(s) {
			if line = strings.TrimSpace(line); len(line) >= minFragment {
				found = append(found, line)
			}
		}
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.values = append(r.values, found...)
	slices.Sort(r.values)
	r.values = slices.Compact(r.values)
}

// AddURL adds the secrets in values that are URLs, or look like URLs.
func (r *Redactor) AddURL(urls ...string) {
	for _, u := range urls {
		r.Add(CredentialsIn(u)...)
	}
}

// appendForms appends the forms in which s can appear in a text. They include the
// usual escaped forms although Clean undoes escapes, because in other contexts undoing
// them gives something else.
func appendForms(dst []string, s string) []string {
	escaped, _ := json.Marshal(s) // a string always encodes
	plain := quote(s)
	dst = append(dst, s, string([]rune(s)), // an encoder replaces invalid UTF-8
		url.QueryEscape(s), url.PathEscape(s), string(escaped[1:len(escaped)-1]), string(plain[1:len(plain)-1]))
	// A Base64 digit depends on its neighbours, so the digits at the ends of s depend
	// on what surrounds it and on its offset modulo three. They are left out.
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

// quote returns s as a JSON string without HTML escapes.
func quote(s string) []byte {
	var buf bytes.Buffer
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(s) // a string always encodes
	return bytes.TrimRight(buf.Bytes(), "\n")
}

// Clean returns text without the secrets. Secrets that overlap or touch are replaced
// by one mark.
func (r *Redactor) Clean(text string) string {
	r.mu.RLock()
	var spans []span
	if len(r.values) > 0 { // otherwise undoing escapes is wasted
		spans = appendSpans(nil, unescaped{text: text}, r.values, maxEscapes)
	}
	r.mu.RUnlock()
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

// Excerpt returns up to limit bytes of a text, without the secrets. It cuts the text
// after removing them, because half a secret is not recognised.
func (r *Redactor) Excerpt(text string, limit int) string {
	looked := text[:min(len(text), excerptFrom)]
	clean := r.Clean(looked)
	switch {
	case len(clean) > limit:
		return strings.ToValidUTF8(clean[:limit], "") + "…"
	case len(looked) < len(text): // almost only secrets, and the last may be cut
		return "…"
	}
	return clean
}

// Writer returns a writer to w that removes the secrets. It recognises a secret within
// one call of Write.
func (r *Redactor) Writer(w io.Writer) io.Writer { return redactingWriter{r, w} }

type redactingWriter struct {
	secrets *Redactor
	w       io.Writer
}

func (w redactingWriter) Write(text []byte) (int, error) {
	if _, err := io.WriteString(w.w, w.secrets.Clean(string(text))); err != nil {
		return 0, err
	}
	return len(text), nil
}

// A span is a part of a text.
type span struct{ start, end int }

// appendSpans appends the positions of the values in a text, which may have so many
// layers of escapes.
func appendSpans(dst []span, text unescaped, values []string, layers int) []span {
	for _, v := range values {
		for from := 0; ; from++ { // by one, since a value can overlap itself
			i := strings.Index(text.text[from:], v)
			if i < 0 {
				break
			}
			from += i
			dst = append(dst, text.span(from, from+len(v)))
		}
	}
	if layers == 0 {
		return dst
	}
	for _, e := range escapes {
		inner, ok := text.undo(e)
		if !ok {
			continue
		}
		// A secret may itself look escaped. Where it appears as it is, undo changes
		// it too.
		innerValues := values
		for _, v := range values {
			if plain, ok := (unescaped{text: v}).undo(e); ok && len(plain.text) >= minSecret {
				innerValues = append(slices.Clip(innerValues), plain.text)
			}
		}
		dst = appendSpans(dst, inner, innerValues, layers-1)
	}
	return dst
}
