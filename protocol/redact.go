package protocol

import (
	"encoding/json"
	"net/url"
	"slices"
	"strings"
	"sync"
)

// minSecret is the length below which a value is not taken for a secret:
// blotting out every "a" would leave nothing to read.
const minSecret = 4

const redacted = "****"

// Redactor blots secret values out of text, also where they stand
// percent-encoded or escaped as in JSON. The zero value knows no secrets. It
// is safe for concurrent use.
type Redactor struct {
	mu     sync.RWMutex
	values []string // longest first, so that no part of one remains
}

// Add makes the given values secret.
func (r *Redactor) Add(secrets ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range secrets {
		if len(s) < minSecret {
			continue
		}
		quoted, _ := json.Marshal(s) // a string always encodes
		r.values = append(r.values, s, url.QueryEscape(s), url.PathEscape(s), strings.Trim(string(quoted), `"`))
		r.values = append(r.values, string(appendString(nil, s)[1:len(appendString(nil, s))-1]))
	}
	slices.SortFunc(r.values, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	r.values = slices.Compact(r.values)
}

// Clean returns text without the secrets.
func (r *Redactor) Clean(text string) string {
	r.mu.RLock()
	defer r.mu.RUnlock()
	for _, v := range r.values {
		text = strings.ReplaceAll(text, v, redacted)
	}
	return text
}
