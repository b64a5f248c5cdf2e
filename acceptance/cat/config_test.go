package cat

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestTheRepositorysFileIsLoaded(t *testing.T) {
	c, err := Load("../../acceptance-test-config.yml")
	if err != nil {
		t.Fatal(err)
	}
	if c.Strictness != "high" || len(c.Tests.BasicRead.Tests) == 0 || len(c.Tests.Incremental.Tests) == 0 {
		t.Errorf("%+v", c)
	}
}

func TestFilesThatWouldNotBeExecutedAreRefused(t *testing.T) {
	const bypassed = "connection: {bypass_reason: x}, discovery: {bypass_reason: x}, full_refresh: {bypass_reason: x}, incremental: {bypass_reason: x}, " +
		"connector_attributes: {bypass_reason: x}, connector_documentation: {bypass_reason: x}"
	file := func(level, tests string) string {
		return "connector_image: i\ntest_strictness_level: " + level + "\nacceptance_tests: {" + tests + "}\n"
	}
	good := "spec: {bypass_reason: x}, basic_read: {bypass_reason: x}, " + bypassed
	for _, tt := range []struct{ name, text, want string }{
		{"every section has a reason", file("high", good), ""},
		{"a low level demands no section", file("low", "spec: {bypass_reason: x}"), ""},
		{"an unknown key", file("high", good) + "strictness: high\n", "field strictness not found"},
		{"an unknown key of a test", file("high", "spec: {tests: [{spec: x}]}, basic_read: {bypass_reason: x}, "+bypassed), "field spec not found"},
		{"a key of Airbyte's that nothing executes", file("high", "spec: {tests: [{spec_path: x, timeout_seconds: 1}]}, basic_read: {bypass_reason: x}, "+bypassed), "field timeout_seconds not found"},
		{"no image", "test_strictness_level: low\n", "connector_image is missing"},
		{"an unknown level", file("medium", good), `test_strictness_level is "medium"`},
		{"a section that is missing", file("high", bypassed+", spec: {bypass_reason: x}"), "section basic_read must have"},
		{"a section with both", file("low", "connection: {tests: [{status: succeed}], bypass_reason: x}"), "section connection must have either"},
		{"tests that nothing executes", file("low", "connector_attributes: {tests: [{}]}"), "section connector_attributes has tests, which nothing executes"},
		{"a high level without expected records", file("high", "spec: {bypass_reason: x}, basic_read: {tests: [{config_path: x}]}, "+bypassed), "has no expect_records"},
		{"an exemption without a reason", file("low", "basic_read: {tests: [{empty_streams: [{name: s}]}]}"), `empty_streams: "s" has no bypass_reason`},
	} {
		t.Run(tt.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "config.yml")
			if err := os.WriteFile(path, []byte(tt.text), 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Load(path)
			if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
				t.Errorf("got %v, want %q", err, tt.want)
			}
		})
	}
}
