package changes

// mayHaveMoved reports whether the sketch may have an older version of a row that is new
// in the window: the last sync did not find it here, though WHOOP had it, or it is a
// recovery that may have been made anew, since its cycle is not the latest one.
func (t *Tracker) mayHaveMoved(r Record) bool {
	if t.state.Until.IsZero() { // then there is no sketch yet
		return false
	}
	return !r.Created.IsZero() && r.Created.Before(t.state.Until) || r.Key == r.Cycle && !t.isLatestCycle(r.Key)
}

// isLatestCycle reports whether a cycle is later than those of all recoveries in the window.
func (t *Tracker) isLatestCycle(key string) bool {
	for other := range t.recent {
		if len(other) > len(key) || len(other) == len(key) && other >= key { // both are numbers
			return false
		}
	}
	return len(t.recent) > 0
}
