package tokens

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestDocumentKeepsWhatElseItHolds(t *testing.T) {
	old := `{"client_id":"i","client_secret":"s","access_token":"a","refresh_token":"r","expires_at":"2026-01-01T00:00:00Z","owner":{"team":"health","size":9007199254740993}}`
	got, err := mergeDocument([]byte(old), Credentials{ClientID: "i", ClientSecret: "s", AccessToken: "a2", RefreshToken: "r2"})
	if err != nil {
		t.Fatal(err)
	}
	var compact strings.Builder
	enc := json.NewEncoder(&compact)
	if err := enc.Encode(json.RawMessage(got)); err != nil {
		t.Fatal(err)
	}
	want := `{"access_token":"a2","client_id":"i","client_secret":"s","owner":{"team":"health","size":9007199254740993},"refresh_token":"r2"}` + "\n"
	if diff := cmp.Diff(want, compact.String()); diff != "" {
		t.Error(diff)
	}
}

func TestWrongDocumentsAreExplainedWithoutTheirValues(t *testing.T) {
	for document, want := range map[string]string{
		``: "it is not a JSON object",
		`{"client_id":"hush","client_secret":"hush",`: "it is not a JSON object",
		`["hush"]`:             "it is not a JSON object",
		`null`:                 `there are no credentials yet: it has no "client_id"`,
		`{}`:                   `there are no credentials yet: it has no "client_id"`,
		`{"client_id":"hush"}`: `there are no credentials yet: it has no "client_secret"`,
		`{"client_id":"hush","client_secret":"hush","access_token":"hush\n"}`: `its "access_token" has a line break or another control character`,
		`{"client_id":42}`: `its "client_id" is not a string`,
		`{"client_id":"hush","client_secret":"hush","expires_at":"hush"}`:    `its "expires_at" is not an instant such as 2026-01-15T12:00:00Z`,
		`{"client_id":"hush","client_secret":"hush","expires_at":173690000}`: `its "expires_at" is not a string`,
	} {
		if _, err := parseDocument([]byte(document)); err == nil || err.Error() != want {
			t.Errorf("%s: error %v, want %s", document, err, want)
		}
	}
}

func FuzzParseDocument(f *testing.F) {
	f.Add([]byte(`{"client_id":"i","client_secret":"s","expires_at":"2026-01-01T00:00:00+01:00"}`))
	f.Add([]byte(`{"client_id":"i","CLIENT_\u017fECRET":"s","x":[{}],"expires_at":""}`))
	f.Fuzz(func(t *testing.T, document []byte) {
		c, err := parseDocument(document)
		if err != nil {
			return
		}
		merged, err := mergeDocument(document, c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := parseDocument(merged)
		if err != nil || !again.same(c) || !again.ExpiresAt.Equal(c.ExpiresAt) {
			t.Errorf("%q became %q: %+v, %v", document, merged, again, err)
		}
	})
}
