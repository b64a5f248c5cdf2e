//go:build acceptance

package acceptance

import (
	"os/exec"
	"regexp"
	"testing"
)

// A template looks methods up by their names. Once one can run, the linker keeps each method of
// each library, which makes the destination a third larger.
func TestTheLinkerLeavesOutMethodsOfTheDestination(t *testing.T) {
	symbols, err := finish(exec.CommandContext(t.Context(), "go", "tool", "nm", destination))
	if err != nil {
		t.Fatal(err)
	}
	if !regexp.MustCompile(`(?m) T main\.main$`).Match(symbols) {
		t.Fatal("the program's symbols are not listed")
	}
	if found := regexp.MustCompile(`(?m) T .*(text/template\.\(\*state\)\.evalField|service/glue\.\(\*Client\)\.CreateTrigger)$`).Find(symbols); found != nil {
		t.Errorf("the destination has%s: something in it can run a template of text/template or html/template", found)
	}
}
