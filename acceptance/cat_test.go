//go:build acceptance

package acceptance

import (
	"path/filepath"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/cat"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// acceptedMember is the sandbox that acceptance-test-config.yml and its fixtures speak of.
var acceptedMember = []string{"--addr", "127.0.0.1:18080", "--seed", "1", "--years", "1", "--clock", "2026-01-15T12:00:00Z"}

// Airbyte's connector acceptance tests, as acceptance-test-config.yml asks for them. What the source
// reads is the sandbox that the fixtures point to; the file says how it is started.
func TestAirbytesAcceptanceTests(t *testing.T) {
	config, err := cat.Load(filepath.Join(repository, "acceptance-test-config.yml"))
	if err != nil {
		t.Fatal(err)
	}
	newMember(t, t.TempDir(), nil, acceptedMember...)
	suite := cat.Suite{
		Config: config,
		Dir:    repository,
		Valueless: []cat.Exempt{
			{Name: "._ab_cdc_deleted_at", Bypass: "It marks the record of a deletion, of which a first read has none."},
			{Name: ".v1_id", Bypass: "Activities since the second version of WHOOP's API have none."},
		},
		Speak: func(t testing.TB, args ...string) *protocoltest.Run {
			t.Helper()
			return speak(t, source, args...)
		},
	}
	suite.Test(t)
}
