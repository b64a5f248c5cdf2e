package maintenance

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
)

// State files are found by name in whatever metadata lies in a directory, also where it is compressed.
func TestNamesOfStateFilesAreFoundInAnyMetadata(t *testing.T) {
	dir := t.TempDir()
	files, ok := any(iceio.LocalFS{}).(iceio.ListableIO)
	if !ok {
		t.Fatal("local files cannot be listed")
	}
	want := map[string]bool{}
	text := func() []byte {
		name := filenames.New(".json")
		want[name] = true
		return fmt.Appendf(nil, `{"properties":{"airbyte.state":"{\"file\":\"file:///lake/_airbyte/states/%s\"}"}}`, name)
	}
	var compressed bytes.Buffer
	gz := gzip.NewWriter(&compressed)
	if _, err := gz.Write(text()); err != nil {
		t.Fatal(err)
	}
	if err := gz.Close(); err != nil {
		t.Fatal(err)
	}
	for name, content := range map[string][]byte{
		"00001-a.metadata.json": text(), "00002-b.gz.metadata.json": compressed.Bytes(), "v3.metadata.json.gz": compressed.Bytes(), "notes.txt": []byte("x"),
	} {
		if err := os.WriteFile(filepath.Join(dir, name), content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	got, err := stateFilesIn(t.Context(), files, "file://"+dir)
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v, names (-want +got):\n%s", err, diff)
	}
	if got, err := stateFilesIn(t.Context(), files, "file://"+dir+"/none"); len(got) > 0 || err != nil {
		t.Errorf("no directory: %v, %v", got, err)
	}
	if err := os.WriteFile(filepath.Join(dir, "00004-c.zstd.metadata.json"), []byte{0x28, 0xb5, 0x2f, 0xfd}, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := stateFilesIn(t.Context(), files, "file://"+dir); err == nil || !strings.Contains(err.Error(), "00004-c.zstd.metadata.json") {
		t.Errorf("error %v", err)
	}
}
