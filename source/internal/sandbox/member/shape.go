package member

import (
	"encoding/json"
	"time"
)

// A Shape says how records are written.
type Shape struct {
	ExtraFields   bool          `json:"extra_fields,omitzero"`  // records and pages have fields that no document names
	NoLegacyIDs   bool          `json:"no_legacy_ids,omitzero"` // no v1_id and no sport_id, as WHOOP announced
	MissingValues MissingValues `json:"missing_values,omitzero"`
}

// MissingValues is how records show a score or an end that is not there yet.
type MissingValues string

const (
	MissingVaries MissingValues = "" // now null, now absent
	MissingNull   MissingValues = "null"
	MissingAbsent MissingValues = "absent"
)

// A reshaping is the shape of records from an instant on; a member's first one
// is also that of all time before.
type reshaping struct {
	from time.Time
	Shape
}

// Reshape changes how records are written from now on.
func (m *Member) Reshape(now time.Time, s Shape) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if s != m.shapes[len(m.shapes)-1].Shape {
		m.shapes = append(m.shapes, reshaping{now, s})
	}
}

func (m *Member) shape(at time.Time) Shape {
	m.mu.Lock()
	defer m.mu.Unlock()
	for i := len(m.shapes) - 1; i > 0; i-- {
		if !at.Before(m.shapes[i].from) {
			return m.shapes[i].Shape
		}
	}
	return m.shapes[0].Shape
}

// A text is the JSON of a version in a shape.
type text struct {
	Shape
	json json.RawMessage
}

// EncodeVersion returns the JSON of a version at an instant of its life, which
// nobody may change: it is kept, because most versions are asked for again and
// again.
func (m *Member) EncodeVersion(v *Version, at time.Time) json.RawMessage {
	if v.open {
		return m.Encode(v.show(at), at)
	}
	s := m.shape(at)
	m.mu.Lock()
	t, ok := m.texts[v]
	m.mu.Unlock()
	if !ok || t.Shape != s {
		t = text{s, m.Encode(v.show(at), at)}
		m.mu.Lock()
		m.texts[v] = t
		m.mu.Unlock()
	}
	return t.json
}

// Encode writes a record in the shape of an instant.
func (m *Member) Encode(record any, at time.Time) json.RawMessage {
	s := m.shape(at)
	switch r := record.(type) {
	case cycle:
		r.End, r.Score = missing(r.End, s), missing(r.Score, s)
		record = r
	case recovery:
		r.Score = missing(r.Score, s)
		record = r
	case sleep:
		r.Score = missing(r.Score, s)
		if s.NoLegacyIDs {
			r.V1ID = 0
		}
		record = r
	case workout:
		r.Score = missing(r.Score, s)
		if s.NoLegacyIDs {
			r.V1ID, r.SportID = 0, optional[int]{}
		}
		record = r
	}
	return s.Extend(encode(record))
}

// Extend adds fields to an object.
func (s Shape) Extend(object json.RawMessage) json.RawMessage {
	if !s.ExtraFields {
		return object
	}
	const extra = `,"strap_model":"5.0","beta":{"levels":[1,2.5,null],"score":{}}}`
	return append(object[:len(object)-1:len(object)-1], extra...)
}

// missing writes a value that is not there as the shape wants.
func missing[T any](o optional[T], s Shape) optional[T] {
	if o.value == nil && s.MissingValues != MissingVaries {
		o.null = s.MissingValues == MissingNull
	}
	return o
}
