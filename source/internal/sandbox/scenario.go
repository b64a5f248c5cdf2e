package sandbox

import (
	"fmt"
	"math/rand/v2"
	"reflect"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// A Scenario is something that a client must cope with.
type Scenario struct {
	Name    string         `json:"name,omitzero"`
	About   string         `json:"about,omitzero"`
	Profile Profile        `json:"profile,omitzero"` // only what differs from Config.Profile
	Faults  []Fault        `json:"faults,omitzero"`
	Events  []member.Event `json:"events,omitzero"`
	// Ends is true if no client can keep the connection: only a new consent helps.
	Ends bool `json:"ends,omitzero"`
}

// Scenarios returns all that have a name.
func Scenarios() []Scenario {
	return slices.Concat(consentScenarios, tokenScenarios, pageScenarios, recordScenarios, limitScenarios, wireScenarios)
}

// Named returns the scenario of a name.
func Named(name string) (Scenario, error) {
	all := Scenarios()
	i := slices.IndexFunc(all, func(s Scenario) bool { return s.Name == name })
	if i < 0 {
		return Scenario{}, fmt.Errorf("no scenario is called %q", name)
	}
	return all[i], nil
}

// Play replaces profile and faults by those of a scenario, and adds its events to
// those that will happen. The zero Scenario brings back the server's own ways.
func (s *Server) Play(scenario Scenario) error {
	profile := scenario.Profile.over(s.base)
	if err := profile.check(); err != nil {
		return err
	}
	if err := checkFaults(scenario.Faults); err != nil {
		return err
	}
	if err := s.SetProfile(profile); err != nil {
		return err
	}
	s.SetFaults(scenario.Faults...)
	return s.Schedule(scenario.Events...)
}

// Random draws a scenario that a client must survive with nothing lost: up to
// three faults, at times another way of the server, at times an event. Events
// change records of the last part of the member's life, as long as history. What
// is drawn depends on rng alone.
func Random(rng *rand.Rand, history time.Duration) Scenario {
	scenario := Scenario{Faults: randomFaults(rng)}
	if rng.IntN(3) == 0 {
		ways := slices.DeleteFunc(slices.Concat(tokenScenarios, pageScenarios, limitScenarios, wireScenarios), func(s Scenario) bool {
			// A clock that is set back makes records vanish that were there.
			return s.Ends || len(s.Faults) > 0 || len(s.Events) > 0 || s.Profile.Skew != 0
		})
		scenario.Profile = ways[rng.IntN(len(ways))].Profile
	}
	if rng.IntN(3) == 0 {
		var happenings []member.Event
		for _, s := range recordScenarios {
			happenings = append(happenings, s.Events...)
		}
		e := happenings[rng.IntN(len(happenings))]
		e.Age = member.Duration(rng.Int64N(max(1, int64(history))))
		scenario.Events = []member.Event{e}
	}
	return scenario
}

// apiPaths are where random faults strike. At the token endpoint only those may
// that were made for it: a lost answer ends the connection there.
var apiPaths = []string{
	"/developer", "/developer", "/developer/v2/cycle", "/developer/v2/recovery",
	"/developer/v2/activity/sleep", "/developer/v2/activity/workout", "/developer/v2/user",
}

// randomFaults draws up to three faults of those that have a name and that a
// client must survive with nothing lost. Each strikes one to three requests,
// somewhere in the next twenty, or in the next few that refresh a token.
func randomFaults(rng *rand.Rand) []Fault {
	var classes []Fault
	for _, s := range Scenarios() {
		if !s.Ends && reflect.ValueOf(s.Profile).IsZero() {
			classes = append(classes, s.Faults...)
		}
	}
	faults := make([]Fault, rng.IntN(4))
	for i := range faults {
		f := classes[rng.IntN(len(classes))]
		f.Times = 1 + rng.IntN(3)
		if f.Path == tokenPath {
			f.Skip = rng.IntN(2)
		} else {
			f.Skip, f.Path = rng.IntN(20), apiPaths[rng.IntN(len(apiPaths))]
		}
		faults[i] = f
	}
	return faults
}
