package schemas

import (
	"encoding/json"
	"os"
	"strings"
	"testing"
)

// The page for people describes the same fields in the same words.
func TestDocsDescribeEveryField(t *testing.T) {
	page, err := os.ReadFile("../docs/source.md")
	if err != nil {
		t.Fatal(err)
	}
	type property struct {
		Description string              `json:"description"`
		Properties  map[string]property `json:"properties"`
	}
	var walk func(path string, p property)
	walk = func(path string, p property) {
		for name, field := range p.Properties {
			if !strings.Contains(string(page), "| `"+path+name+"` |") || !strings.Contains(string(page), "| "+field.Description+" |") {
				t.Errorf("docs/source.md lacks %s%s: %s", path, name, field.Description)
			}
			walk(path+name+".", field)
		}
	}
	for _, name := range names(t) {
		raw, err := Get(name)
		if err != nil {
			t.Fatal(err)
		}
		var root property
		if err := json.Unmarshal(raw, &root); err != nil {
			t.Fatal(err)
		}
		if len(root.Properties) == 0 {
			t.Fatalf("%s has no properties", name)
		}
		walk("", root)
	}
}
