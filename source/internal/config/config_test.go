package config

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
)

// valid returns a good configuration with changes; a nil value removes a key.
func valid(changes map[string]any) json.RawMessage {
	c := map[string]any{"credentials": map[string]any{
		"auth_type": "oauth2", "client_id": "i", "client_secret": "s", "access_token": "a", "refresh_token": "r",
	}}
	for key, value := range changes {
		if inner, ok := strings.CutPrefix(key, "credentials."); ok {
			credentials := maps.Clone(c["credentials"].(map[string]any))
			credentials[inner] = value
			c["credentials"] = credentials
			continue
		}
		c[key] = value
	}
	raw, err := json.Marshal(c)
	if err != nil {
		panic(err)
	}
	return raw
}

func TestDefaultsAndNullsAreTheSame(t *testing.T) {
	for _, raw := range []json.RawMessage{valid(nil), valid(map[string]any{
		"start_date": nil, "lookback_days": nil, "reconcile_every_days": nil, "drilldowns": nil, "requests_per_second": nil, "api_url": nil,
		"credentials.token_expiry_date": nil, "_by_orchestrator": 1,
	})} {
		s, err := Parse(raw)
		if err != nil {
			t.Fatal(err)
		}
		if s.LookbackDays != 14 || s.ReconcileEveryDays != 7 || s.Drilldowns != Derive || s.RequestsPerSecond != 2 ||
			s.APIURL != "https://api.prod.whoop.com" || !s.Start.IsZero() {
			t.Errorf("%s became %+v", raw, s.Config)
		}
	}
}

func TestWrongConfigurationsNameTheKey(t *testing.T) {
	for name, c := range map[string]struct {
		changes map[string]any
		want    string
	}{
		"no credentials":      {map[string]any{"credentials": nil}, `"credentials.auth_type" is missing`},
		"no auth_type":        {map[string]any{"credentials.auth_type": nil}, `"credentials.auth_type" is missing`},
		"unknown auth_type":   {map[string]any{"credentials.auth_type": "keyring"}, `"credentials.auth_type" is "keyring". It must be`},
		"no client_id":        {map[string]any{"credentials.client_id": ""}, `"credentials.client_id" is missing`},
		"no client_secret":    {map[string]any{"credentials.client_secret": nil}, `"credentials.client_secret" is missing`},
		"no refresh_token":    {map[string]any{"credentials.refresh_token": nil}, `"credentials.refresh_token" is missing`},
		"line break at end":   {map[string]any{"credentials.access_token": "a\n"}, `"credentials.access_token" has a line break`},
		"two lines":           {map[string]any{"credentials.refresh_token": "r\r\nr"}, `"credentials.refresh_token" has a line break`},
		"bad expiry":          {map[string]any{"credentials.token_expiry_date": "soon"}, `"credentials.token_expiry_date" is`},
		"no path":             {map[string]any{"credentials.auth_type": "token_file"}, `"credentials.path" is missing`},
		"no token file":       {map[string]any{"credentials.auth_type": "token_file", "credentials.path": "/no/such/file"}, "leads to no token file"},
		"no secret":           {map[string]any{"credentials.auth_type": "aws_secrets_manager"}, `"credentials.secret_id" is missing`},
		"id without role":     {map[string]any{"credentials.auth_type": "aws_secrets_manager", "credentials.secret_id": "s", "credentials.external_id": "e"}, `"credentials.external_id" belongs to a role`},
		"endpoint of a path":  {map[string]any{"credentials.auth_type": "aws_secrets_manager", "credentials.secret_id": "s", "credentials.endpoint": "http://127.0.0.1/aws"}, `"credentials.endpoint" must be`},
		"bad start_date":      {map[string]any{"start_date": "2024-01-01"}, `"start_date" is "2024-01-01". It must be an instant such as`},
		"negative lookback":   {map[string]any{"lookback_days": -1}, `"lookback_days" is -1`},
		"lookback as text":    {map[string]any{"lookback_days": "14"}, `"lookback_days" is of type string`},
		"negative reconcile":  {map[string]any{"reconcile_every_days": -1}, `"reconcile_every_days" is -1`},
		"unknown drilldowns":  {map[string]any{"drilldowns": "none"}, `"drilldowns" is "none". It must be`},
		"start before time":   {map[string]any{"start_date": "0001-01-01T00:00:00+01:00"}, "It must be an instant such as"},
		"start after time":    {map[string]any{"start_date": "9999-12-31T23:59:59-01:00"}, "It must be an instant such as"},
		"hardly any pace":     {map[string]any{"requests_per_second": 1e-12}, `"requests_per_second" is 1e-12. It must be from 0.001 to 1000`},
		"URL without host":    {map[string]any{"api_url": "https://:443"}, `"api_url" must be a scheme and a host`},
		"URL of no port":      {map[string]any{"api_url": "https://api.prod.whoop.com:99999"}, `"api_url" must be a scheme and a host`},
		"client_id as number": {map[string]any{"credentials.client_id": 7}, `"credentials.client_id" is of type number`},
		"no pace":             {map[string]any{"requests_per_second": 0}, `"requests_per_second" is 0`},
		"URL with a path":     {map[string]any{"api_url": "https://api.prod.whoop.com/developer"}, `"api_url" must be a scheme and a host`},
		"URL without scheme":  {map[string]any{"api_url": "api.prod.whoop.com"}, `"api_url" must be`},
		"credentials as text": {map[string]any{"credentials": "secret"}, `"credentials" is of type string`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Parse(valid(c.changes))
			var known *protocol.Error
			if !errors.As(err, &known) || known.Kind != protocol.ConfigError || !strings.Contains(known.Message, c.want) {
				t.Errorf("error %v, want a config error with %s", err, c.want)
			}
		})
	}
}

func TestRotatedConfigurationDiffersInItsTokensOnly(t *testing.T) {
	raw := valid(map[string]any{"lookback_days": 3, "_by_orchestrator": "kept", "credentials.token_expiry_date": "2026-01-01T00:00:00Z"})
	got, err := withTokens(raw, tokens.Credentials{AccessToken: "a2", RefreshToken: "r2", ExpiresAt: time.Date(2026, 2, 3, 4, 5, 6, 0, time.UTC)})
	if err != nil {
		t.Fatal(err)
	}
	var is, want map[string]any
	if err := json.Unmarshal(got, &is); err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(valid(map[string]any{
		"lookback_days": 3, "_by_orchestrator": "kept", "credentials.access_token": "a2",
		"credentials.refresh_token": "r2", "credentials.token_expiry_date": "2026-02-03T04:05:06Z",
	}), &want); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, is); diff != "" {
		t.Errorf("configuration (-want +got):\n%s", diff)
	}
}

// A key is read in any spelling, so it is replaced in any: what is found wrong after a refresh has cost the token.
func TestRotationFindsKeysInAnySpelling(t *testing.T) {
	raw := json.RawMessage(`{"Credentials":{"Auth_Type":"oauth2","client_id":"i","client_secret":"s","ACCESS_TOKEN":"a","Refresh_Token":"r","Token_Expiry_Date":"2026-01-01T00:00:00Z"},"lookback_days":3}`)
	if _, err := Parse(raw); err != nil {
		t.Fatal(err)
	}
	got, err := withTokens(raw, tokens.Credentials{AccessToken: "a2", RefreshToken: "r2"})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"credentials":{"Auth_Type":"oauth2","access_token":"a2","client_id":"i","client_secret":"s","refresh_token":"r2"},"lookback_days":3}`; string(got) != want {
		t.Errorf("configuration %s, want %s", got, want)
	}
}

// A bearer token in clear may be read by whoever is on the way.
func TestOnlyThisMachineIsReachedWithoutEncryption(t *testing.T) {
	for address, ok := range map[string]bool{
		"https://api.prod.whoop.com": true, "http://127.0.0.1:8080": true, "http://localhost:8080": true, "http://[::1]:80": true,
		"http://api.prod.whoop.com": false, "http://10.0.0.1": false, "http://127.0.0.1.example.com": false,
	} {
		_, err := Parse(valid(map[string]any{"api_url": address}))
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), "api_url") {
			t.Errorf("%s: %v", address, err)
		}
		_, err = Parse(valid(map[string]any{"credentials.auth_type": Secret, "credentials.secret_id": "s", "credentials.endpoint": address}))
		if (err == nil) != ok || err != nil && !strings.Contains(err.Error(), `"credentials.endpoint" begins with http://`) {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// The options in the documentation have the defaults and limits of the schema.
func TestDocumentationHasTheLimits(t *testing.T) {
	docs, err := os.ReadFile("../../../docs/source.md")
	if err != nil {
		t.Fatal(err)
	}
	for p := spec.Reflect(Config{}, "").Properties.Oldest(); p != nil; p = p.Next() {
		_, row, found := strings.Cut(string(docs), "\n| `"+p.Key+"` | ")
		row, _, _ = strings.Cut(row, "\n")
		wants := []string{}
		if p.Value.Default != nil {
			wants = append(wants, fmt.Sprint(p.Value.Default))
		}
		for _, v := range p.Value.Enum {
			wants = append(wants, fmt.Sprintf("`%v`", v))
		}
		if p.Value.Minimum != "" && p.Value.Maximum != "" {
			wants = append(wants, fmt.Sprintf("from %s to %s", p.Value.Minimum, p.Value.Maximum))
		}
		for _, want := range wants {
			if !found || !strings.Contains(row, want) {
				t.Errorf("docs/source.md: %s lacks %q: %s", p.Key, want, row)
			}
		}
	}
}
