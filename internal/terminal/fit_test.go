package terminal_test

import (
	"math"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

func TestNumbersForPeople(t *testing.T) {
	for got, want := range map[string]string{
		terminal.Number(0):                 "0",
		terminal.Number(999):               "999",
		terminal.Number(1000):              "1,000",
		terminal.Number(-1234567):          "-1,234,567",
		terminal.Number(math.MinInt64):     "-9,223,372,036,854,775,808",
		terminal.Size(0):                   "0 B",
		terminal.Size(1023):                "1023 B",
		terminal.Size(1024):                "1.0 KiB",
		terminal.Size(102_348):             "99.9 KiB",
		terminal.Size(102_400):             "100 KiB",
		terminal.Size(1<<20 - 1):           "1.0 MiB",
		terminal.Size(3 << 30):             "3.0 GiB",
		terminal.Size(math.MaxInt64):       "8192 PiB",
		terminal.Counted(1, "files"):       "1 file",
		terminal.Counted(1, "committed"):   "1 committed",
		terminal.Counted(20_000, "files"):  "20,000 files",
		terminal.Cut("schön", 5):           "schön",
		terminal.Cut("schöner", 5):         "schö…",
		terminal.Cut("a", 0):               "",
		terminal.Cut("山田さん", 8):            "山田さん",
		terminal.Cut("山田さん", 6):            "山田…",
		terminal.Cut("e\u0301te\u0301", 3): "e\u0301te\u0301",
		terminal.Cut("a👍b", 3):             "a…",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}
