package laketest

import (
	"fmt"
	"maps"
	"slices"
	"time"
)

// Version is one version of a record, and what the model keeps of a key.
type Version struct {
	Key     int64
	Cursor  int64 // -1: null
	Order   uint64
	V       string
	Deleted bool
}

func (v Version) Erases() bool { return v.Deleted && v.Cursor < 0 }

func (v Version) Row() map[string]any {
	row := map[string]any{"id": v.Key, "v": v.V, "updated_at": nil, "_ab_cdc_deleted_at": nil}
	if v.Cursor >= 0 {
		row["updated_at"] = Stamp(v.Cursor)
	}
	if v.Deleted {
		row["_ab_cdc_deleted_at"] = "2026-01-01"
	}
	return row
}

func (v Version) JSON() string {
	updated := "null"
	if v.Cursor >= 0 {
		updated = `"` + Stamp(v.Cursor) + `"`
	}
	return fmt.Sprintf(`{"id":%d,"v":"%s","updated_at":%s}`, v.Key, v.V, updated)
}

func Stamp(seconds int64) string { return time.Unix(seconds, 0).UTC().Format(time.RFC3339) }

// Model is the contract of append_dedup, written down as plainly as can be.
type Model map[int64]Version

func (m Model) Commit(versions []Version) {
	winners := map[int64]Version{}
	erased := map[int64]bool{}
	for _, v := range slices.SortedFunc(slices.Values(versions), func(a, b Version) int { return int(a.Order) - int(b.Order) }) {
		w, ok := winners[v.Key]
		switch {
		case v.Erases():
			winners[v.Key], erased[v.Key] = v, true
		case !ok, w.Erases(), v.Cursor >= w.Cursor:
			winners[v.Key] = v
		}
	}
	for key, w := range winners {
		if old, ok := m[key]; ok && old.Cursor > w.Cursor && !erased[key] {
			continue
		}
		if delete(m, key); !w.Deleted {
			m[key] = w
		}
	}
}

func (m Model) Rows() []string {
	var rows []string
	for _, key := range slices.Sorted(maps.Keys(m)) {
		rows = append(rows, m[key].JSON())
	}
	return rows
}
