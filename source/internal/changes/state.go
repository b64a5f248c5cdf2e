// Package changes finds out which rows of a stream changed since the last sync.
// WHOOP has no feed of changes, so a sync reads rows again and compares them with
// what the state remembers; see [State] for why that is enough.
//
// Glossary:
//   - window: the recent part of a stream, of which the state remembers every row.
//   - sketch: the state's memory of all older rows, an invertible Bloom lookup table.
//   - full walk: a sync that reads the whole stream again and compares the sketch too.
//   - old: a row from before the window.
//   - open: a record that has begun and not ended, such as the cycle of today.
//   - unsettled: a record that is open or waits for its score, so it will change.
package changes

import (
	"encoding/json"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/iblt"
)

// A State is what a stream keeps between syncs.
//
// WHOOP lists records by the time of the event and has no feed of changes. The
// only way to know what changed is to read again and compare. So a stream
// remembers of the rows that it has emitted:
//
//   - recent: key, time, fingerprint and updated_at of each row that began at or after
//     window_start, and of one that is open, has moved or could not be read yet, however old.
//     An incremental sync reads from window_start on: a row with another fingerprint
//     has changed, and a row that is not in recent is new. A row that is in recent
//     and does not come is gone, once WHOOP confirms that it does not know the key.
//   - older: a sketch of all rows before that. A full walk compares it with what
//     it reads and gets the keys of the rows that changed or vanished. If more
//     have changed than are worth a request each, for example when WHOOP adds a
//     field to everything, the next sync emits the whole stream.
//
// The window moves on with time and drops rows into the sketch as they leave it,
// so recent covers as many days as the lookback, or minWindow. A row whose score is pending
// stretches it, and so does the newest row, to maxStretch at most: what WHOOP did not have
// yet is mostly newer than all that it had. The sketch does not grow. The state of a member
// with two sleeps a day and the default lookback has about 6 KB.
//
// The same state serves both ways of reading drill-downs, because it holds rows
// and not requests.
type State struct {
	Version int `json:"version"`
	// Member is the WHOOP member whose rows they are, as JSON text; empty: not known.
	Member json.RawMessage `json:"user_id,omitempty"`
	// Until is the end of what has been read completely.
	Until time.Time `json:"until"`
	// Start is the start_date that the stream began with; zero: all history.
	Start time.Time `json:"start_date,omitzero"`
	// Oldest is when the oldest row that was ever in the window began. The first slice of a
	// walk of all history ends a slice's length after it, so that no empty slices are read.
	Oldest time.Time `json:"oldest,omitzero"`
	// Walked is when the last full walk began.
	Walked      time.Time `json:"walked"`
	WindowStart time.Time `json:"window_start"`
	Recent      []entry   `json:"recent"`
	// Moved are the keys of recent rows of which the sketch may have an older version.
	Moved []string   `json:"moved,omitempty"`
	Older iblt.Table `json:"older"`
	// EmitAll asks for a full walk that emits every row. Stored states know it by this name.
	EmitAll bool `json:"anew,omitzero"`
}

// HasBegun reports whether the stream can have rows: its start_date had come.
func (s State) HasBegun() bool { return !s.WindowStart.After(s.Until) }

// StateVersion is the version of states that are written. Version 1 had another
// sketch, and entries without updated_at.
const StateVersion = 2

const (
	// minWindow is how far back the window reaches at least. A record appears hours after it
	// began: at the end of a night, or when the strap is near the phone again. If the window
	// did not reach back to where it began, it would be taken for an old row.
	minWindow = 2 * 24 * time.Hour
	// maxStretch is how far back the window reaches at most for a row whose score is pending,
	// and for what may appear after the newest row. Only full walks find the changes of older ones.
	maxStretch = 30 * 24 * time.Hour
)

// An entry is a row in the window: [key, seconds since 1970, fingerprint,
// updated_at in microseconds since 1970].
type entry struct {
	key         string
	time        time.Time
	fingerprint uint64    // of the version that was emitted last; 0: none was
	updated     time.Time // zero: not known
	// moved means that an edit may have moved the row into the window from before it. Its
	// key is then in the sketch, and may not come into it twice. The row stays until a full
	// walk makes a new sketch, or maxStretch longer than others, and is read by its key.
	moved bool

	// The rest is not kept. It is known for rows that this sync has read.
	open      bool
	unsettled bool
	seen      bool
	owed      bool // it is to be emitted and has not been: it stays until a sync has done so
}
