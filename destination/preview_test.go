package main

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"testing"

	"github.com/apache/arrow-go/v18/parquet/file"

	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// Whatever a broken file makes of the library that reads it, preview says what is wrong and ends.
func TestPreviewOfABrokenFile(t *testing.T) {
	dir := t.TempDir()
	config := protocoltest.File(t, fmt.Sprintf(`{"warehouse":"file://%s"}`, dir))
	catalog := protocoltest.File(t, `{"streams":[{"stream":{"name":"items","json_schema":{"properties":{"id":{"type":"integer"},"v":{"type":"string"},
		"o":{"type":"object","properties":{"a":{"type":"string"},"n":{"type":"number"}}},"l":{"type":"array","items":{"type":"integer"}}}}},
		"sync_mode":"incremental","destination_sync_mode":"append"}]}`)
	var input bytes.Buffer
	for i := range 200 {
		fmt.Fprintf(&input, `{"type":"RECORD","record":{"stream":"items","emitted_at":1,"data":{"id":%d,"v":"x%[1]d","o":{"a":"%0*[2]d","n":%[1]d.5},"l":[1,%[1]d]}}}`+"\n", i, i%40)
	}
	input.WriteString(`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"items"},"stream_state":{}}}}` + "\n")
	do := func(stdin []byte, args ...string) (code int, stderr string) {
		var out, errs bytes.Buffer
		code = unsignalled().run(t.Context(), cli.Env{Args: args, Stdin: bytes.NewReader(stdin), Stdout: &out, Stderr: &errs})
		return code, errs.String()
	}
	if code, stderr := do(input.Bytes(), "write", "--config", config, "--catalog", catalog); code != 0 {
		t.Fatal(stderr)
	}
	files, err := filepath.Glob(filepath.Join(dir, "airbyte.db", "items", "data", "*.parquet"))
	if err != nil || len(files) == 0 {
		t.Fatalf("no data file: %v", err)
	}
	sound, err := os.ReadFile(files[0])
	if err != nil {
		t.Fatal(err)
	}
	r, err := file.NewParquetReader(bytes.NewReader(sound))
	if err != nil {
		t.Fatal(err)
	}
	footer := len(sound) - r.MetaData().Size() - 8
	headers := []int{footer} // where a byte does most harm
	for _, c := range r.MetaData().RowGroups[0].Columns {
		headers = append(headers, int(c.MetaData.DataPageOffset))
		if at := c.MetaData.DictionaryPageOffset; at != nil {
			headers = append(headers, int(*at))
		}
	}
	failed := 0
	for seed := range uint64(testsize.Of(100, 600)) {
		rnd := rand.New(rand.NewPCG(seed, 0))
		broken := bytes.Clone(sound)
		for range []int{1, 1, 3, 20}[seed%4] {
			at := rnd.IntN(len(broken))
			if seed%3 > 0 {
				at = min(headers[rnd.IntN(len(headers))]+rnd.IntN(20), len(broken)-1)
			}
			broken[at] = byte(rnd.Uint32())
		}
		if err := os.WriteFile(files[0], broken, 0o600); err != nil {
			t.Fatal(err)
		}
		switch code, stderr := do(nil, "preview", "items", "--config", config, "--json"); {
		case code == 1 && stderr != "":
			failed++
		case code != 0:
			t.Errorf("seed %d: exit code %d, %s", seed, code, stderr)
		}
	}
	if failed == 0 {
		t.Error("no file was broken")
	}
}
