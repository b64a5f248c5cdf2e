// Package checkpoint is what a table keeps as its state: the last STATE message
// whose records it has, and which commit that was part of.
package checkpoint

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
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
	File      string          `json:"file,omitempty"`  // location of the file that holds it, and Streams

	// These are of a state that covers all streams.
	From    time.Time `json:"from,omitzero"`    // when the one was committed that the sync continued from
	Lacks   []Numbers `json:"lacks,omitempty"`  // of states before, in ascending order: the table may not have their rows
	Streams Streams   `json:"streams,omitzero"` // that it belongs to; nil: earlier versions did not name them
}

// Numbers are the first and the last of a range.
type Numbers [2]int64

// Has reports whether a table with this checkpoint has the rows of the state of all streams
// that has a number.
func (c Checkpoint) Has(number int64) bool {
	lacks := func(n Numbers) bool { return n[0] <= number && number <= n[1] }
	return number <= c.Number && !slices.ContainsFunc(c.Lacks, lacks)
}

// maxLacks bounds what a checkpoint keeps of failures and rollbacks long ago.
const maxLacks = 10

// LacksOfNext returns what the state with a number lacks if the source continued from this one.
func (c Checkpoint) LacksOfNext(number int64) []Numbers {
	lacks := slices.Clone(c.Lacks)
	if c.Number+1 < number {
		lacks = append(lacks, Numbers{c.Number + 1, number - 1})
	}
	if len(lacks) > maxLacks {
		lacks = lacks[len(lacks)-maxLacks:]
		lacks[0][0] = 0
	}
	return lacks
}

// Streams are what a state of all streams belongs to: by namespace and name, the number of the
// last such state that had the stream. It is the state's own number for a stream of its sync, and
// a lower one for a stream that was removed from the catalog before.
type Streams map[string]map[string]int64

// Set adds a stream.
func (s Streams) Set(id protocol.StreamID, number int64) {
	if s[id.Namespace] == nil {
		s[id.Namespace] = map[string]int64{}
	}
	s[id.Namespace][id.Name] = number
}

// Number returns a stream's number.
func (s Streams) Number(id protocol.StreamID) (number int64, ok bool) {
	number, ok = s[id.Namespace][id.Name]
	return number, ok
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

// Load returns a checkpoint with what its file holds, if it has one.
func (c Checkpoint) Load(files iceio.IO) (Checkpoint, error) {
	if c.File == "" {
		return c, nil
	}
	of, err := read(files, c.File)
	c.State, c.Streams = of.State, of.Streams
	return c, err
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
