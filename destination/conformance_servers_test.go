//go:build acceptance

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"
)

// The acceptance tests start the servers, put a configuration for each of their
// kinds into LAKES, and run TestLakes. NEW in one is a name that no other lake has.
func init() {
	var lakes map[string]json.RawMessage
	if given := os.Getenv("LAKES"); given != "" {
		if err := json.Unmarshal([]byte(given), &lakes); err != nil {
			panic(fmt.Errorf("reading LAKES: %w", err))
		}
	}
	for kind, config := range lakes {
		lakeKinds[kind] = func(*testing.T) string {
			return strings.ReplaceAll(string(config), "NEW", fmt.Sprintf("lake%d", time.Now().UnixNano()))
		}
	}
}
