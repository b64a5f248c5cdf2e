package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/iblt"
)

// What a stream keeps between syncs, and why that is enough.
//
// WHOOP lists records by the time of the event and has no feed of changes, so
// the only way to know what changed is to read again and compare. A stream
// remembers, of the rows it has emitted:
//
//   - recent: key, time and fingerprint of each row that began at or after
//     window_start, and of an open one however old. An incremental sync reads
//     from window_start on: a row with another fingerprint has changed, one
//     that is not listed is new, one that is listed and does not come is gone,
//     once WHOOP confirms that it does not know the key.
//   - older: a sketch of all rows before that. It is compared in a full walk,
//     and gives the keys of what changed or vanished. Should more have changed
//     than are worth asking for one by one, as when WHOOP adds a field to
//     everything, the next sync emits the stream anew.
//
// The window moves on with time and drops rows into the sketch as they leave
// it, so recent holds as many days as the lookback has; it is stretched, by
// maxStretch at most, for a row that is unsettled. The sketch does not grow. A
// state of a member with two sleeps a day and the default lookback has about
// 6 KB.
//
// The same state serves both kinds of drilldowns, since it speaks of rows and
// not of requests.
type state struct {
	Version int `json:"version"`
	// Until is the end of what has been read completely.
	Until time.Time `json:"until"`
	// Start is the start_date that the stream was begun with; zero: none.
	Start time.Time `json:"start_date,omitzero"`
	// Oldest is when the oldest row began, where a full walk finds the first one.
	Oldest time.Time `json:"oldest,omitzero"`
	// Walked is when the last full walk began.
	Walked      time.Time  `json:"walked"`
	WindowStart time.Time  `json:"window_start"`
	Recent      []entry    `json:"recent"`
	Older       iblt.Table `json:"older"`
	// Anew asks for a full walk that emits every row.
	Anew bool `json:"anew,omitzero"`
}

// stateVersion 2 has another sketch than 1, and entries that hold updated_at.
const stateVersion = 2

// maxStretch is how far before the end the window reaches at most for an
// unsettled row. Older ones are left to the full walk.
const maxStretch = 30 * 24 * time.Hour

// An entry is a row in the window: [key, seconds since 1970, fingerprint,
// updated_at in microseconds since 1970].
type entry struct {
	key     string
	time    time.Time
	hash    uint64
	updated time.Time // zero: not known

	// The rest is not kept: it is known of rows that were seen in this sync.
	open      bool
	unsettled bool
	seen      bool
}

func (e entry) MarshalJSON() ([]byte, error) {
	micros := int64(0)
	if !e.updated.IsZero() {
		micros = e.updated.UnixMicro()
	}
	return fmt.Appendf(nil, `[%s,%d,"%016x",%d]`, e.key, e.time.Unix(), e.hash, micros), nil
}

func (e *entry) UnmarshalJSON(data []byte) error {
	var parts []json.RawMessage
	if err := json.Unmarshal(data, &parts); err != nil {
		return err
	}
	if len(parts) != 3 && len(parts) != 4 {
		return errors.New("an entry without key, time and fingerprint")
	}
	var seconds, micros int64
	var hash string
	if err := json.Unmarshal(parts[1], &seconds); err != nil {
		return err
	}
	if err := json.Unmarshal(parts[2], &hash); err != nil {
		return err
	}
	*e = entry{key: string(parts[0]), time: time.Unix(seconds, 0).UTC()}
	if len(parts) == 4 { // not in version 1
		if err := json.Unmarshal(parts[3], &micros); err != nil {
			return err
		}
		if micros != 0 {
			e.updated = time.UnixMicro(micros).UTC()
		}
	}
	if _, err := packKey(e.key); err != nil {
		return err
	}
	_, err := fmt.Sscanf(hash, "%016x", &e.hash)
	return err
}

// parseState reads a stream's state. It returns false for one that this
// version does not know: no state at all, that of a full refresh, that of a
// later version or another connector. The stream then starts over. Of version
// 1 the sketch is of no use, so all rows are emitted once more.
func parseState(raw json.RawMessage) (state, bool) {
	var first struct {
		state
		Older json.RawMessage `json:"older"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &first) != nil || first.Until.IsZero() {
		return state{}, false
	}
	s := first.state
	switch s.Version {
	case stateVersion:
		return s, len(first.Older) == 0 || json.Unmarshal(first.Older, &s.Older) == nil
	case 1:
		s.Version, s.Anew = stateVersion, true
		return s, true
	}
	return state{}, false
}
