package redact

import (
	"encoding/base64"
	"encoding/json"
	"net/url"
	"strings"
	"testing"
)

func TestRedactor(t *testing.T) {
	const secret = `p<a>ss "w&rd"/é?`
	key := "-----BEGIN PRIVATE KEY-----\nMIIEvQIBADANBgkqhkiG9w0B\nAQEFAASCBKcwggSjAgEAAoIB\n-----END PRIVATE KEY-----\n"
	escaped, err := json.Marshal(secret)
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name    string
		secrets []string
		text    string
		want    string
	}{
		{"no secrets", nil, "text", "text"},
		{"as it is", []string{secret}, "it is " + secret + ".", "it is ****."},
		{"in a query", []string{secret}, "GET /?a=" + url.QueryEscape(secret) + "&b=1", "GET /?a=****&b=1"},
		{"in a path", []string{secret}, "/" + url.PathEscape(secret) + "/x", "/****/x"},
		{"in JSON", []string{secret}, `{"s":` + string(escaped) + `}`, `{"s":"****"}`},
		{"several times", []string{"abcd"}, "abcd-abcd", "****-****"},
		{"one within another", []string{"abcd", "xxabcdyy"}, "xxabcdyy abcd", "**** ****"},
		{"overlapping", []string{"abcdef", "efghij"}, "<abcdefghij>", "<****>"},
		{"overlapping itself", []string{"abab"}, "<ababab>", "<****>"},
		{"touching", []string{"abcd", "efgh"}, "abcdefgh", "****"},
		{"too short to be one", []string{"abc", ""}, "abc", "abc"},
		{"in Base64", []string{"hunter2secret"}, "Basic " + base64.StdEncoding.EncodeToString([]byte("hunter2secret")), "Basic ****A=="},
		{"a password inside a URL", []string{"postgres://me:p%40ssword@db/x"}, "dial as me with p@ssword, p%40ssword", "dial as me with ****, ****"},
		{"lines of a key", []string{key}, "bad line MIIEvQIBADANBgkqhkiG9w0B in key", "bad line **** in key"},
		{"a key in JSON", []string{key}, strings.ReplaceAll(key, "\n", `\n`), "****"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			var r Redactor
			r.Add(tt.secrets...)
			if got := r.Clean(tt.text); got != tt.want {
				t.Errorf("Clean(%q) = %q, want %q", tt.text, got, tt.want)
			}
		})
	}
}

func TestRedactorFindsBase64AtEveryOffset(t *testing.T) {
	const secret = "a-client-secret-of-usual-length"
	var r Redactor
	r.Add(secret)
	for before := range 7 {
		for after := range 4 {
			whole := strings.Repeat("u", before) + secret + strings.Repeat("v", after)
			for name, encoding := range map[string]*base64.Encoding{"std": base64.StdEncoding, "url": base64.RawURLEncoding} {
				got := r.Clean(encoding.EncodeToString([]byte(whole)))
				// Nothing but the digits of the neighbours and of the secret's edges is left.
				if left := len(got) - len(redacted); !strings.Contains(got, redacted) || left > (before+after)*4/3+6 {
					t.Errorf("%s, %d bytes before and %d after: %s", name, before, after, got)
				}
			}
		}
	}
}

func FuzzRedactor(f *testing.F) {
	f.Add("secret1", "ret1sec", "a secret1 ret1secret1 b", "u:")
	f.Add("aaaa", "aaaaa", "aaaaaaaaa", "")
	f.Add(`q"<\`, "l1\nline two is long", `{"x":"q\"<\\"}`, "é")
	f.Fuzz(func(t *testing.T, a, b, text, prefix string) {
		// With an asterisk, the mark of another secret can be part of one.
		a, b = strings.ReplaceAll(a, "*", "+"), strings.ReplaceAll(b, "*", "+")
		var r Redactor
		r.Add(a, b)
		for _, s := range []string{a, b} {
			if len(s) < minSecret {
				continue
			}
			whole := text + s + text
			forms := map[string][2]string{
				"plain":   {whole, s},
				"query":   {url.QueryEscape(whole), url.QueryEscape(s)},
				"path":    {url.PathEscape(whole), url.PathEscape(s)},
				"JSON":    {quoteJSON(t, whole), quoteJSON(t, s)},
				"no HTML": {string(quote(whole)), string(quote(s)[1 : len(quote(s))-1])},
			}
			for form, f := range forms {
				// Where a secret ends in half a character, its escaped form is another one.
				if !strings.Contains(f[0], f[1]) {
					continue
				}
				if got := r.Clean(f[0]); strings.Contains(got, f[1]) {
					t.Errorf("%s: secret %q is left in %q", form, s, got)
				}
			}
			if len(s) > minFragment {
				encoded := base64.StdEncoding.EncodeToString([]byte(prefix + s))
				if got := r.Clean(encoded); got == encoded {
					t.Errorf("Base64 of %q and %q is left alone", prefix, s)
				}
			}
		}
		if got := r.Clean(text); got != text && !strings.Contains(got, redacted) {
			t.Errorf("Clean(%q) = %q", text, got)
		}
	})
}

// quoteJSON returns what stands between the quotes of s as a JSON string.
func quoteJSON(t *testing.T, s string) string {
	b, err := json.Marshal(s)
	if err != nil {
		t.Fatal(err)
	}
	return string(b[1 : len(b)-1])
}

func BenchmarkRedactor(b *testing.B) {
	var r Redactor
	r.Add("client-secret-of-32-bytes-length", "refresh-token-of-some-length-too", "access-token-of-some-length-either")
	text := strings.Repeat("a line of a log without anything secret in it ", 4)
	b.SetBytes(int64(len(text)))
	for b.Loop() {
		if r.Clean(text) != text {
			b.Fatal("changed")
		}
	}
}
