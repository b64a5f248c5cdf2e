package readers

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the table in docs/destination.md again")

// The documentation shows what this package knows, in its words.
func TestDocsShowEveryLimit(t *testing.T) {
	const page, begin, end = "../../../docs/destination.md", "<!-- begin: what readers cannot read -->\n", "<!-- end: what readers cannot read -->\n"
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	shown, after, ended := strings.Cut(rest, end)
	if !found || !ended {
		t.Fatalf("%s has no place for the table", page)
	}
	var want strings.Builder
	want.WriteString("| a table with | who cannot read it | instead |\n|---|---|---|\n")
	for _, f := range features {
		var limits []string
		for _, l := range f.limits {
			limits = append(limits, fmt.Sprintf("%s ([source](%s))", l.effect, l.source))
		}
		fmt.Fprintf(&want, "| %s | %s | %s |\n", f.name, strings.Join(limits, ". "), f.remedy)
	}
	if *update {
		if err := os.WriteFile(page, []byte(before+begin+want.String()+end+after), 0o600); err != nil {
			t.Fatal(err)
		}
		return
	}
	if shown != want.String() {
		t.Errorf("%s shows another table (go test -update writes it):\n%swant:\n%s", page, shown, want.String())
	}
}
