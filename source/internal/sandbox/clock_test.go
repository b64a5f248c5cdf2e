package sandbox

import (
	"testing"
	"testing/synctest"
	"time"
)

func TestClockStandsUntilMoved(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewClock(noon.In(time.FixedZone("", 3600)))
		time.Sleep(time.Hour)
		if got := c.Now(); got != noon {
			t.Errorf("stands at %s", got)
		}
		if got := c.Advance(time.Minute); got != noon.Add(time.Minute) || c.Now() != got {
			t.Errorf("advanced to %s, stands at %s", got, c.Now())
		}
		c.Set(noon.Add(-day))
		if got := c.Now(); got != noon.Add(-day) {
			t.Errorf("set back, stands at %s", got)
		}
	})
}

func TestRunningClockKeepsPaceFromWhereItIsSet(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := NewRunningClock(noon)
		time.Sleep(time.Hour)
		if got := c.Now(); got != noon.Add(time.Hour) {
			t.Errorf("after an hour: %s", got)
		}
		c.Advance(day)
		time.Sleep(time.Hour)
		if got := c.Now(); got != noon.Add(day+2*time.Hour) {
			t.Errorf("advanced by a day, after another hour: %s", got)
		}
		c.Set(noon)
		time.Sleep(time.Second)
		if got := c.Now(); got != noon.Add(time.Second) {
			t.Errorf("set back, after a second: %s", got)
		}
	})
}
