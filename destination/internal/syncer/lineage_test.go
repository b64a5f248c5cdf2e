package syncer

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A commit that ends before any table's has begun leaves no file that no snapshot names.
func TestAStateThatCannotBeReadAgainLeavesNoFiles(t *testing.T) {
	r, _ := newTestRun(t, sameCatalog)
	written, err := os.OpenFile(filepath.Join(t.TempDir(), "states"), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		t.Fatal(err)
	}
	defer written.Close()
	r.stateMessages.limit, r.stateMessages.file = 0, written
	lines := goodRecord("a") + "\n" + streamState("a", 1) + "\n"
	err = r.execute(t.Context(), protocol.NewInput(strings.NewReader(lines), r.log))
	if err == nil || !strings.Contains(err.Error(), "reading a pending state") {
		t.Errorf("error %v", err)
	}
	location := filenames.Plain(r.streams.all[0].Table.Opened().Location())
	files, err := filepath.Glob(filepath.Join(location, "data", "*"))
	if err != nil || len(files) > 0 {
		t.Errorf("left: %v, %v", files, err)
	}
	if _, err := os.Stat(filepath.Join(location, "metadata")); err != nil {
		t.Error(err) // it was looked for in the right place
	}
}
