package changes

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"
)

func (e entry) MarshalJSON() ([]byte, error) {
	micros := int64(0)
	if !e.updated.IsZero() {
		micros = e.updated.UnixMicro()
	}
	return fmt.Appendf(nil, `[%s,%d,"%016x",%d]`, e.key, e.time.Unix(), e.fingerprint, micros), nil
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
	var fingerprint string
	if err := json.Unmarshal(parts[1], &seconds); err != nil {
		return err
	}
	if err := json.Unmarshal(parts[2], &fingerprint); err != nil {
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
	_, err := fmt.Sscanf(fingerprint, "%016x", &e.fingerprint)
	return err
}

// ParseState reads a stream's state. It returns false for one that this version
// does not know: no state at all, the state of a full refresh, of a later version
// or of another connector. The stream then starts over. The sketch of version 1
// cannot be used, so all rows are emitted once more.
func ParseState(raw json.RawMessage) (State, bool) {
	var first struct {
		State
		Older json.RawMessage `json:"older"`
	}
	if len(raw) == 0 || json.Unmarshal(raw, &first) != nil || first.Until.IsZero() {
		return State{}, false
	}
	s := first.State
	switch s.Version {
	case StateVersion:
		return s, len(first.Older) == 0 || json.Unmarshal(first.Older, &s.Older) == nil
	case 1:
		s.Version, s.EmitAll = StateVersion, true
		return s, true
	}
	return State{}, false
}

// Checkpoint returns the state to emit now: a sync that resumes from it emits no row
// again. A full walk has none before it is finished, and Checkpoint returns nil.
func (t *Tracker) Checkpoint() (json.RawMessage, error) {
	if t.full {
		return nil, nil
	}
	s := t.state
	s.Recent = make([]entry, 0, len(t.recent))
	for _, e := range t.recent {
		s.Recent = append(s.Recent, *e)
		if e.moved {
			s.Moved = append(s.Moved, e.key)
		}
	}
	slices.Sort(s.Moved)
	slices.SortFunc(s.Recent, func(a, b entry) int {
		return cmp.Or(a.time.Compare(b.time), cmp.Compare(a.key, b.key))
	})
	raw, err := json.Marshal(&s)
	if err != nil {
		return nil, fmt.Errorf("making a state: %w", err)
	}
	return raw, nil
}
