//go:build acceptance

package acceptance

import (
	"bytes"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// emulator starts moto, which stands in for AWS, and returns its URL. It sets what AWS's standard chain finds.
func emulator(t testing.TB) string {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "aws-secret-access-key",
		"AWS_REGION": "eu-central-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull,
	} {
		t.Setenv(name, value)
	}
	for _, name := range []string{"AWS_PROFILE", "AWS_SESSION_TOKEN"} {
		t.Setenv(name, "") // so that it comes back in the end
		if err := os.Unsetenv(name); err != nil {
			t.Fatal(err)
		}
	}
	return serve(t, programs().Moto).Endpoint
}

// The contract of the stores, kept over an implementation of Secrets Manager that is not ours.
func TestStoreKeepsItsContractOverAnEmulator(t *testing.T) {
	test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-run", "^(TestStores|TestConnectionSurvivesAProcessThatDies)$/^aws_secrets_manager", "./source/internal/tokens")
	test.Env = append(os.Environ(), "SECRETS_MANAGER_URL="+emulator(t))
	test.Dir = repository
	out, err := test.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, last(out, 8000))
	}
	for _, passed := range []string{
		"PASS: TestStores/aws_secrets_manager/lets_one_refresh_do_for_all_processes",
		"PASS: TestConnectionSurvivesAProcessThatDies/aws_secrets_manager_after_the_claim",
	} {
		if !bytes.Contains(out, []byte("--- "+passed)) {
			t.Errorf("no %q in %s", passed, last(out, 8000))
		}
	}
}

// A member consents into a secret, through a role; then many sources find the token expired at one instant, time and again.
func TestSourcesShareASecret(t *testing.T) {
	m := newMember(t, t.TempDir(), nil)
	m.play(map[string]any{"name": "consent-granted"})
	config := map[string]any{
		"credentials": map[string]any{
			"auth_type": "aws_secrets_manager", "secret_id": "whoop/member", "region": "eu-central-1",
			"role_arn": "arn:aws:iam::123456789012:role/whoop", "external_id": "outside", "endpoint": emulator(t),
		},
		"api_url": m.url, "requests_per_second": 1000,
	}
	path := filepath.Join(t.TempDir(), "source.json")
	writeJSON(t, path, config)
	a := authorizeInto(t, m, path)
	page, err := http.Get(a.url) // which the sandbox grants at once
	if err != nil {
		t.Fatal(err)
	}
	page.Body.Close()
	a.end(0, "Stored:  the tokens in the secret whoop/member")

	const rounds, sources = 5, 6
	for round := range rounds {
		m.pass(2 * time.Hour)
		runs := make([]*protocoltest.Run, sources)
		var wg sync.WaitGroup
		for i := range runs {
			wg.Go(func() { runs[i] = speak(t, source, "check", "--config", a.config) })
		}
		wg.Wait()
		for _, r := range runs {
			if s := r.Messages[len(r.Messages)-1].ConnectionStatus; s == nil || s.Status != "SUCCEEDED" {
				t.Fatalf("round %d: %s", round, r.Stdout)
			}
			if text := string(r.Stdout) + string(r.Stderr); strings.Contains(text, `"CONTROL"`) || strings.Contains(text, "sandbox-client-secret") {
				t.Errorf("round %d: %s", round, text)
			}
		}
	}
	var audit struct {
		Refreshes    int `json:"refreshes"`
		SpentReplays int `json:"spent_replays"`
	}
	m.get("/sandbox/audit", &audit)
	if audit.Refreshes != rounds || audit.SpentReplays != 0 {
		t.Errorf("%+v after %d rounds of %d sources", audit, rounds, sources)
	}
}
