package member

import (
	"slices"
	"time"
)

// split starts a new version at an instant, equal to the current one.
func (r *record) split(at time.Time) {
	i, found := slices.BinarySearchFunc(r.versions, at, func(v Version, t time.Time) int { return v.from.Compare(t) })
	if found || i == 0 {
		return
	}
	v := r.versions[i-1]
	v.from = at
	r.versions = slices.Insert(slices.Clone(r.versions), i, v)
}

// amend changes the versions from an instant on. Readers keep those they hold.
func (r *record) amend(at time.Time, change func(Version) Version) {
	r.split(at)
	r.versions = slices.Clone(r.versions)
	for i, v := range r.versions {
		if v.show != nil && !v.from.Before(at) {
			r.versions[i] = change(v)
		}
	}
}

// end deletes the record and cancels its later versions.
func (r *record) end(at time.Time) {
	i, _ := slices.BinarySearchFunc(r.versions, at, func(v Version, t time.Time) int { return v.from.Compare(t) })
	r.versions = append(slices.Clone(r.versions[:i]), Version{from: at})
}

// A revision is how an event changes a record.
type revision struct {
	updated    string        // updated_at at least; or empty
	start, end time.Duration // by how much they move
	state      string        // of the score; empty: as it is
	again      bool          // another score
	zero       bool          // a score of zeros
	flip       bool          // a nap becomes a sleep, a sleep a nap
}

// revise makes the versions from an instant on look revised; for as long as
// waiting lasts, their score is pending.
func (r *record) revise(at time.Time, waiting time.Duration, change revision) {
	scored := at.Add(waiting)
	r.split(scored)
	r.amend(at, func(v Version) Version {
		change := change
		if v.from.Before(scored) {
			change.state = pending
		} else if change.updated != "" {
			change.updated = stamp(scored)
		}
		show := v.show
		if !v.Start.IsZero() {
			v.Start = v.Start.Add(change.start)
		}
		if !v.End.IsZero() {
			v.End = v.End.Add(change.end)
		}
		start, end := v.Start, v.End
		v.show = func(at time.Time) any {
			switch record := show(at).(type) {
			case cycle:
				return record.revised(change, start, end)
			case recovery:
				return record.revised(change)
			case sleep:
				return record.revised(change, start, end)
			case workout:
				return record.revised(change, start, end)
			default:
				return record
			}
		}
		return v
	})
}

func (c cycle) revised(by revision, start, end time.Time) cycle {
	c.UpdatedAt, c.Start = max(c.UpdatedAt, by.updated), stamp(start)
	if c.End.value != nil {
		c.End = some(stamp(end))
	}
	c.ScoreState, c.Score = revisedScore(c.ScoreState, c.Score, by, func(s *cycleScore) { s.Strain, s.Kilojoule = s.Strain/2+3, s.Kilojoule+77 })
	return c
}

func (r recovery) revised(by revision) recovery {
	r.UpdatedAt = max(r.UpdatedAt, by.updated)
	r.ScoreState, r.Score = revisedScore(r.ScoreState, r.Score, by, func(s *recoveryScore) { s.RecoveryScore, s.HRV = 100-s.RecoveryScore, s.HRV+1 })
	return r
}

func (s sleep) revised(by revision, start, end time.Time) sleep {
	s.UpdatedAt, s.Start, s.End = max(s.UpdatedAt, by.updated), stamp(start), stamp(end)
	s.Nap = s.Nap != by.flip
	s.ScoreState, s.Score = revisedScore(s.ScoreState, s.Score, by, func(s *sleepScore) { s.StageSummary.Disturbances++; s.SleepNeeded.SleepDebt += 1000 })
	return s
}

func (w workout) revised(by revision, start, end time.Time) workout {
	w.UpdatedAt, w.Start, w.End = max(w.UpdatedAt, by.updated), stamp(start), stamp(end)
	w.ScoreState, w.Score = revisedScore(w.ScoreState, w.Score, by, func(s *workoutScore) { s.Strain, s.Kilojoule = s.Strain/2+5, s.Kilojoule+33 })
	return w
}

// revisedScore never turns a record that has no score into one that has.
func revisedScore[T any](state string, score optional[T], by revision, again func(*T)) (string, optional[T]) {
	if by.state != "" && by.state != scored {
		return by.state, optional[T]{null: score.null}
	}
	if score.value == nil {
		return state, score
	}
	revised := *score.value
	if by.again {
		again(&revised)
	}
	if by.zero {
		revised = *new(T)
	}
	return state, some(revised)
}
