package main

import (
	"encoding/json"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens/secretstest"
)

// inSecret moves a world's tokens into a secret.
func (w *world) inSecret(aws *secretstest.Server) {
	w.t.Helper()
	for name, value := range secretstest.Environment() {
		w.t.Setenv(name, value)
	}
	server := httptest.NewServer(aws)
	w.t.Cleanup(server.Close)
	document, err := json.Marshal(w.config["credentials"])
	if err != nil {
		w.t.Fatal(err)
	}
	aws.Put("whoop", string(document))
	w.config["credentials"] = map[string]any{"auth_type": config.Secret, "secret_id": "whoop", "endpoint": server.URL}
}

func TestSecretIsTheOnlyPlaceOfItsTokens(t *testing.T) {
	w := young(t, 1, 2, nil)
	aws := &secretstest.Server{}
	w.inSecret(aws)
	before, _ := aws.Value("whoop")
	w.clock.Advance(day) // the access token has expired
	r := w.sync(catalog(t, protocol.Incremental))
	for _, m := range r.Messages {
		if m.Control != nil {
			t.Errorf("a CONTROL message: %s", m.Raw)
		}
	}
	after, _ := aws.Value("whoop")
	var old, rotated map[string]string
	for text, into := range map[string]*map[string]string{before: &old, after: &rotated} {
		if err := json.Unmarshal([]byte(text), into); err != nil {
			t.Fatal(err)
		}
	}
	if old["refresh_token"] == rotated["refresh_token"] {
		t.Error("the secret was not changed")
	}
	for _, credentials := range []map[string]string{old, rotated} {
		for _, key := range []string{"client_secret", "access_token", "refresh_token"} {
			if strings.Contains(string(r.Stdout)+string(r.Stderr), credentials[key]) {
				t.Errorf("the %s is shown", key)
			}
		}
	}
	if a := w.server.Audit(); a.Refreshes != 1 || a.SpentReplays != 0 {
		t.Errorf("%+v", a)
	}
	w.wantTruth()
}

func TestCheckExplainsWhatIsWrongWithASecret(t *testing.T) {
	for name, test := range map[string]struct {
		before func(string) bool
		spoil  func(*world, *secretstest.Server)
		want   string
		form   bool // the message says what a document consists of
	}{
		"missing": {
			spoil: func(w *world, _ *secretstest.Server) { w.credential("secret_id", "other") },
			want:  "reading the secret other: it does not exist in this account and region",
			form:  true,
		},
		"may not write": {
			before: func(o string) bool { return o != "PutSecretValue" },
			spoil:  func(*world, *secretstest.Server) {}, // the token is good for an hour
			want:   "the policy must allow secretsmanager:GetSecretValue and secretsmanager:PutSecretValue",
		},
		"not a document": {
			spoil: func(_ *world, aws *secretstest.Server) { aws.Put("whoop", "hush") },
			want:  "it is not a JSON object",
			form:  true,
		},
		"another role": {
			spoil: func(w *world, _ *secretstest.Server) {
				w.credential("role_arn", "arn:aws:iam::123456789012:role/other")
			},
			want: "assuming the role arn:aws:iam::123456789012:role/other: AWS does not allow it",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := young(t, 1, 1, nil)
			aws := &secretstest.Server{Before: test.before}
			w.inSecret(aws)
			test.spoil(w, aws)
			r := protocoltest.Source(t, w.source, "check", "--config", protocoltest.File(t, w.config))
			last := r.Messages[len(r.Messages)-1]
			if last.ConnectionStatus == nil || last.ConnectionStatus.Status != "FAILED" || !strings.Contains(last.ConnectionStatus.Message, test.want) {
				t.Errorf("%s", r.Stdout)
			}
			if got := strings.Contains(string(r.Stdout), "They must be a JSON document with client_id, "); got != test.form {
				t.Errorf("it says what a document consists of: %v, in %s", got, r.Stdout)
			}
			if strings.Contains(string(r.Stdout), "hush") {
				t.Error("the secret is shown")
			}
			if a := w.server.Audit(); a.Refreshes > 0 {
				t.Error("the token was spent")
			}
		})
	}
}
