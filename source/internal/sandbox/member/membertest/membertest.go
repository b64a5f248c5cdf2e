// Package membertest reads the records of a member in tests.
package membertest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// An Item is what the records of all collections have in common.
type Item struct {
	ID         json.RawMessage  `json:"id"`
	CycleID    int64            `json:"cycle_id"`
	SleepID    string           `json:"sleep_id"`
	V1ID       int64            `json:"v1_id"`
	Start      time.Time        `json:"start"`
	End        *time.Time       `json:"end"`
	Nap        bool             `json:"nap"`
	Created    time.Time        `json:"created_at"`
	Updated    time.Time        `json:"updated_at"`
	Offset     string           `json:"timezone_offset"`
	ScoreState string           `json:"score_state"`
	Score      *json.RawMessage `json:"score"`
}

// Key returns the primary key as text.
func (i Item) Key() string {
	if i.ID == nil {
		return fmt.Sprint(i.CycleID)
	}
	return strings.Trim(string(i.ID), `"`)
}

// ScoreText returns the score as JSON, "" if there is none.
func (i Item) ScoreText() string {
	if i.Score == nil {
		return ""
	}
	return string(*i.Score)
}
