package sandbox

import (
	"fmt"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// Schedule makes events part of what will happen; what was true before now stays
// so. Events cannot be withdrawn. If one is in the past or finds no record to
// change, those before it stand.
func (s *Server) Schedule(events ...member.Event) error {
	now := s.Now()
	timed := slices.Clone(events)
	for i, e := range timed {
		if err := e.Check(len(s.members)); err != nil {
			return fmt.Errorf("event %d: %w", i, err)
		}
		if e.At.IsZero() {
			timed[i].At = now.Add(time.Duration(e.After))
		}
		if timed[i].At.Before(now) {
			return fmt.Errorf("event %d: %s is in the past", i, timed[i].At.Format(time.RFC3339))
		}
	}
	slices.SortStableFunc(timed, func(a, b member.Event) int { return a.At.Compare(b.At) })
	for _, e := range timed {
		m := s.members[e.Member]
		if e.Do == member.Revoke {
			s.grants.withdraw(m, e.At, now)
			continue
		}
		if err := m.Apply(e); err != nil {
			return fmt.Errorf("event at %s: %w", e.At.Format(time.RFC3339), err)
		}
	}
	return nil
}

// Oracle returns the oracle of the first member.
func (s *Server) Oracle() *member.Oracle { return s.OracleOf(0) }

// OracleOf returns the oracle of the nth member, from 0 on.
func (s *Server) OracleOf(n int) *member.Oracle { return s.members[n].Oracle() }
