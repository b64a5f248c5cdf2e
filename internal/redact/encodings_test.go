package redact

import (
	"encoding/base64"
	"fmt"
	"html"
	"math/rand/v2"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"unicode/utf16"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
)

// An encoding writes a text in one of the ways in which a program, a library or
// a server may.
type encoding struct {
	name   string
	encode func(random *rand.Rand, text string) string
}

// sometimes writes some of the runes of a text by escape, and all that must be.
func sometimes(random *rand.Rand, text, must string, escape func(r rune) string) string {
	var b strings.Builder
	for _, r := range text {
		if strings.ContainsRune(must, r) || r < ' ' || random.IntN(2) == 0 {
			b.WriteString(escape(r))
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

func percent(format string) func(rune) string {
	return func(r rune) string {
		var b strings.Builder
		for _, c := range []byte(string(r)) {
			fmt.Fprintf(&b, format, c)
		}
		return b.String()
	}
}

func unicodeEscape(format string) func(rune) string {
	return func(r rune) string {
		var b strings.Builder
		for _, unit := range utf16.Encode([]rune{r}) {
			fmt.Fprintf(&b, format, unit)
		}
		return b.String()
	}
}

func within(quoted string) string { return quoted[1 : len(quoted)-1] }

func plainly(encode func(string) string) func(*rand.Rand, string) string {
	return func(_ *rand.Rand, text string) string { return encode(text) }
}

func encodings(t *testing.T) []encoding {
	return []encoding{
		{"as it is", plainly(func(text string) string { return text })},
		{"JSON", plainly(func(text string) string { return quoteJSON(t, text) })},
		{"JSON without HTML", plainly(func(text string) string { return within(string(quote(text))) })},
		{`JSON with \/`, plainly(func(text string) string { return strings.ReplaceAll(quoteJSON(t, text), "/", `\/`) })},
		{`some \uxxxx`, func(random *rand.Rand, text string) string {
			return sometimes(random, text, `"\`, unicodeEscape(`\u%04x`))
		}},
		{`some \uXXXX`, func(random *rand.Rand, text string) string {
			return sometimes(random, text, `"\`, unicodeEscape(`\u%04X`))
		}},
		{"Go", plainly(func(text string) string { return within(strconv.Quote(text)) })},
		{"Go in ASCII", plainly(func(text string) string { return within(strconv.QuoteToASCII(text)) })},
		{"query", plainly(url.QueryEscape)},
		{"path", plainly(url.PathEscape)},
		{"query in lower case", plainly(func(text string) string {
			var b strings.Builder
			for i, part := range strings.Split(url.QueryEscape(text), "%") {
				if i > 0 {
					part = "%" + strings.ToLower(part[:2]) + part[2:]
				}
				b.WriteString(part)
			}
			return b.String()
		})},
		{"some %xx", func(random *rand.Rand, text string) string { return sometimes(random, text, "%+", percent("%%%02x")) }},
		{"some %XX", func(random *rand.Rand, text string) string { return sometimes(random, text, "%+", percent("%%%02X")) }},
		{"HTML", plainly(html.EscapeString)},
		{"some &#d;", func(random *rand.Rand, text string) string {
			return sometimes(random, text, "&", func(r rune) string { return fmt.Sprintf("&#%d;", r) })
		}},
		{"some &#xX;", func(random *rand.Rand, text string) string {
			return sometimes(random, text, "&", func(r rune) string { return fmt.Sprintf("&#x%X;", r) })
		}},
	}
}

func randomSecret(random *rand.Rand) string {
	alphabet := []rune(`abcXYZ0189-._~!$'()*,;:@=/?#[]%+&<>"\{}|^` + "` \t\néßÅ日💖")
	secret := make([]rune, minFragment+random.IntN(32))
	for i := range secret {
		secret[i] = alphabet[random.IntN(len(alphabet))]
	}
	secret[0], secret[len(secret)-1] = 'S', 'E' // a mark is as long as the secret is known to be
	return string(secret)
}

// A secret of any characters is blotted out whole, and nothing else is, whichever
// encodings it went through on its way into a text.
func TestNoEncodingHidesASecret(t *testing.T) {
	random := rand.New(rand.NewPCG(7, 8))
	all := encodings(t)
	for range testsize.Of(25, 300) {
		secret := randomSecret(random)
		var r Redactor
		r.Add(secret)
		for _, first := range all {
			for _, second := range all {
				once := first.encode(random, secret)
				text := "before " + second.encode(random, once) + " after"
				if got := r.Clean(text); got != "before **** after" {
					t.Errorf("%q in %s in %s: %q becomes %q", secret, first.name, second.name, text, got)
				}
			}
			digits := base64.StdEncoding.EncodeToString([]byte("client:" + secret))
			if got := r.Clean(first.encode(random, digits)); !strings.Contains(got, redacted) || strings.Contains(got, digits[12:20]) {
				t.Errorf("%q in Base64 in %s becomes %q", secret, first.name, got)
			}
		}
	}
}

func TestThreeLayersOfEscapesAreUndone(t *testing.T) {
	const secret = `p<a>ss "w&rd"/é?`
	var r Redactor
	r.Add(secret)
	text := quoteJSON(t, quoteJSON(t, quoteJSON(t, secret)))
	if got := r.Clean(text); got != redacted {
		t.Errorf("%s becomes %s", text, got)
	}
}

// A configuration may have credentials where nobody expects them.
func TestCredentialsInAnyValueAreSecret(t *testing.T) {
	for value, secret := range map[string]string{
		"https://me:opensesame@api.prod.whoop.com":        "opensesame",
		"https://opensesame@api.prod.whoop.com":           "opensesame",
		"me:opensesame@api.prod.whoop.com":                "opensesame",
		"postgres://me:open%40sesame@db/x":                "open@sesame",
		"postgres://me:open%zzsesame@db:port/x":           "open%zzsesame",
		"postgres://me:open/sesame@db/x":                  "open/sesame",
		"postgres://me:open@sesame@db/x":                  "open@sesame",
		"postgres://me:open#sesame?@db/x":                 "open#sesame?",
		"postgres://db/x?user=me&password=open%26sesame":  "open&sesame",
		"host=db user=me password='open sesame' dbname=x": "open sesame",
		"host=db user=me password=opensesame":             "opensesame",
		"s3://key:opensesame@bucket/lake":                 "opensesame",
		"https://bucket/lake?X-Amz-Signature=opensesame":  "opensesame",
		"file://me:opensesame@host\x7f/lake":              "opensesame",
	} {
		var r Redactor
		r.Add(CredentialsIn(value)...)
		_, parseErr := url.Parse(value)
		for _, text := range []string{value, fmt.Sprintf("%q", value), fmt.Sprint(parseErr), "it is " + secret, quoteJSON(t, secret)} {
			if got := r.Clean(text); strings.Contains(got, secret) || strings.Contains(got, "sesame") {
				t.Errorf("%s: %s is left", value, got)
			}
		}
	}
	for _, value := range []string{
		"file:///data/2026-01-15T12:00:00/me@home/lake", "s3://bucket/me@home", "postgres://admin@db/x", "https://api.prod.whoop.com",
		"http://127.0.0.1:8080", "me@example.com", "2026-01-15T12:00:00Z", "month(start)", "arn:aws:iam::123456789012:role/whoop",
	} {
		if found := CredentialsIn(value); len(found) > 0 {
			t.Errorf("%s: %q are taken for secrets", value, found)
		}
	}
}

func TestExcerptIsCutWhenNoSecretIsLeft(t *testing.T) {
	const secret = "opensesame-opensesame"
	var r Redactor
	r.Add(secret)
	for before := range 40 {
		got := r.Excerpt(strings.Repeat("x", before)+secret+strings.Repeat("y", 100), 30)
		if strings.Contains(got, "open") || len(got) > 30+len("…") {
			t.Errorf("%d bytes before: %s", before, got)
		}
	}
	secrets := strings.Repeat(secret, 2*excerptFrom/len(secret)) // one of them lies across the end of what is looked at
	if got := r.Excerpt(secrets, 30); got != "…" {
		t.Errorf("of nothing but secrets: %s", got)
	}
	if got := r.Excerpt("é"+strings.Repeat("é", 20), 5); got != "éé…" {
		t.Errorf("a cut within a character: %q", got)
	}
}
