//go:build acceptance

package acceptance

import (
	"bytes"
	"os"
	"os/exec"
	"testing"
)

// Snowflake's driver, as the destination sets it up, speaks with a server that is not ours.
func TestSnowflakesDriverSpeaksWithAnotherServer(t *testing.T) {
	server := serve(t, programs().FakeSnow)
	test := exec.CommandContext(t.Context(), "go", "test", "-count=1", "-v", "-tags", "acceptance", "-run", "^TestAnotherServer$", "./destination/internal/snowflake")
	test.Env = append(os.Environ(), "SNOWFLAKE_URL="+server.Endpoint)
	test.Dir = repository
	out, err := test.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, last(out, 8000))
	}
	for _, passed := range []string{"literals", "columns", "what_is_not_there"} {
		if !bytes.Contains(out, []byte("--- PASS: TestAnotherServer/"+passed)) {
			t.Errorf("no %q in %s", passed, last(out, 8000))
		}
	}
}
