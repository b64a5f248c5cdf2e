// Package checkpoint is what a table keeps as its state: the last STATE message
// whose records it has, and which commit that was part of.
package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// Key is the entry of a snapshot's summary, and the property of a table, that
// holds a checkpoint as JSON.
const Key = "airbyte.state"

// Checkpoint is a state and its place among others. The number orders the copies
// of a state that covers several tables when a crash came between their commits;
// the time, which a clock may set back, only tells people.
type Checkpoint struct {
	Number    int64           `json:"number"` // higher than of any commit before
	Committed time.Time       `json:"committed"`
	State     json.RawMessage `json:"state,omitempty"` // the state of the message; nil: it is in the file
	File      string          `json:"file,omitempty"`  // location of the file that holds it
}

// Before reports whether a checkpoint is older than another one.
func (c Checkpoint) Before(other Checkpoint) bool {
	return cmp.Or(cmp.Compare(c.Number, other.Number), c.Committed.Compare(other.Committed)) < 0
}

// Encode writes a checkpoint as a table keeps it.
func (c Checkpoint) Encode() (json.RawMessage, error) { return encode(c) }

// Parse reads what Encode wrote.
func Parse(raw json.RawMessage) (Checkpoint, error) {
	var c Checkpoint
	if err := json.Unmarshal(raw, &c); err != nil {
		return c, fmt.Errorf("reading a checkpoint: %w", err)
	}
	if c.State == nil && c.File == "" {
		return c, errors.New("reading a checkpoint: it names no state")
	}
	return c, nil
}

// Relocate returns an encoded checkpoint whose file is elsewhere now; what is none
// stays as it is.
func Relocate(raw string, location func(string) string) string {
	c, err := Parse(json.RawMessage(raw))
	if err != nil || c.File == "" {
		return raw
	}
	c.File = location(c.File)
	text, err := c.Encode()
	if err != nil {
		return raw
	}
	return string(text)
}

func encode(v any) ([]byte, error) {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	if err := e.Encode(v); err != nil {
		return nil, fmt.Errorf("encoding a checkpoint: %w", err)
	}
	return bytes.TrimSpace(b.Bytes()), nil
}
