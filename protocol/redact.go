package protocol

import (
	"encoding/base64"
	"encoding/json"
	"io"
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
	// mostEscaped is how many layers of escapes are looked through, as in JSON
	// within JSON within a URL.
	mostEscaped = 3
	// excerptFrom is how much of a text is looked at for an excerpt of it.
	excerptFrom = 64 << 10

	redacted = "****"
)

// Redactor blots secret values out of text: as they are, in Base64, alone or as
// part of something longer (as in an HTTP Basic header), and behind the escapes
// of JSON and Go, of URLs and of HTML, wherever those are used and however often
// one upon the other. Of a secret of several lines (a private key) each long
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
		for _, value := range append(credentialsIn(s), s) {
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

// AddURL adds what is secret in values that are URLs, or were meant as such.
func (r *Redactor) AddURL(urls ...string) {
	for _, u := range urls {
		r.Add(credentialsIn(u)...)
	}
}

// appendForms appends the ways in which s can stand in a text. Its usual escaped
// forms are among them although escapes are undone: in the wrong place, where
// undoing them gives something else, they still show it to people.
func appendForms(dst []string, s string) []string {
	escaped, _ := json.Marshal(s) // a string always encodes
	plain := appendString(nil, s)
	dst = append(dst, s, string([]rune(s)), // an encoder replaces what is no UTF-8
		url.QueryEscape(s), url.PathEscape(s), string(escaped[1:len(escaped)-1]), string(plain[1:len(plain)-1]))
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
	var spans []span
	if len(r.values) > 0 { // nothing is undone for nothing
		spans = appendSpans(nil, unescaped{text: text}, r.values, mostEscaped)
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

// Excerpt returns the beginning of a text, of most bytes at most, without the
// secrets. It is cut afterwards: half a secret is not recognised.
func (r *Redactor) Excerpt(text string, most int) string {
	looked := text[:min(len(text), excerptFrom)]
	clean := r.Clean(looked)
	switch {
	case len(clean) > most:
		return strings.ToValidUTF8(clean[:most], "") + "…"
	case len(looked) < len(text): // next to nothing but secrets, of which the last may be cut
		return "…"
	}
	return clean
}

// Writer returns a writer that hands on to w what it is given, without the
// secrets. A secret is recognised within one call of Write.
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

// appendSpans appends where one of the values stands in a text, which may have
// so many layers of escapes.
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
		// A secret may itself look as if it had escapes in it, which are undone
		// where it stands as it is.
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
