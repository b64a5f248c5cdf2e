package terminal_test

import (
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// A value in a list is cut to fit, but never so short that a UUID is not whole.
func TestValuesInAListAreCut(t *testing.T) {
	const id = "1739ed72-26cc-48c5-9ea5-081ed1e596da"
	for width, want := range map[int]string{
		20: "-- row\nname  1739ed72-26cc-48c5-9ea5-081ed1e596da\nlong  1739ed72-26cc-48c5-9ea5-081ed1e596d…\n",
		46: "-- row\nname  1739ed72-26cc-48c5-9ea5-081ed1e596da\nlong  1739ed72-26cc-48c5-9ea5-081ed1e596da173…\n",
	} {
		var out strings.Builder
		screen := terminal.NewScreen(&out, false, nil)
		if err := terminal.WriteList(screen, "row", []string{"name", "long"}, []terminal.Cell{{Text: id}, {Text: id + id}}, width); err != nil {
			t.Fatal(err)
		}
		if out.String() != want {
			t.Errorf("%d columns: got\n%s", width, &out)
		}
	}
}
