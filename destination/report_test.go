package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// A source may put anything into its state, also what the environment has as a secret.
func TestNoSecretIsOnThePage(t *testing.T) {
	const secret = "hunter-two/+x"
	lake := t.TempDir()
	config, catalog := filepath.Join(lake, "config.json"), filepath.Join(lake, "catalog.json")
	for path, text := range map[string]string{
		config:  `{"warehouse": "file://` + lake + `/lake", "maintenance": {"on_write": false}}`,
		catalog: `{"streams": [{"stream": {"name": "s", "json_schema": {"properties": {"id": {"type": "integer", "description": "` + secret + `"}}}}, "sync_mode": "incremental", "destination_sync_mode": "append"}]}`,
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	input := `{"type":"RECORD","record":{"stream":"s","emitted_at":1,"data":{"id":1}}}` + "\n" +
		`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"cursor":"` + strings.Repeat("x", 5000) + `","token":"` + secret + `"}}}}` + "\n"
	page := filepath.Join(lake, "report.html")
	for _, args := range [][]string{{"write", "--config", config, "--catalog", catalog}, {"report", "--config", config, "--output", page}} {
		var stderr bytes.Buffer
		code := unsignalled().run(t.Context(), cli.Env{
			Args: args, Stdin: strings.NewReader(input), Stdout: io.Discard, Stderr: &stderr,
			Getenv: func(name string) string { return map[string]string{"AWS_SECRET_ACCESS_KEY": secret}[name] },
		})
		if code != 0 {
			t.Fatalf("%s: exit code %d: %s", args[0], code, &stderr)
		}
	}
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(string(text), "hunter") || !strings.Contains(string(text), "&#34;token&#34;: &#34;****&#34;") || !strings.Contains(string(text), `<td class="doc">****</td>`) {
		t.Errorf("the page has the secret, or not what is around it:\n%s", text)
	}
}
