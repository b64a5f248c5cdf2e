package scalar

import (
	"fmt"
	"testing"
)

// The fast path takes the dates that the calendar has and no others, whatever it has seen
// before. MySQL and others write 0000-00-00 for no date.
func TestDatesAreThoseOfTheCalendar(t *testing.T) {
	var known Dates
	for range 2 {
		for _, year := range []int{0, 1, 1600, 1899, 1900, 1969, 1970, 2000, 2023, 2024, 9999} {
			for month := range 14 {
				for day := range 40 {
					text := fmt.Sprintf("%04d-%02d-%02d", year, month, day)
					want, fit := ParseDate([]byte(text))
					for name, dates := range map[string]*Dates{"known": &known, "new": {}} {
						got, end := dates.PlainDate([]byte(text+"\"     \n"), 0)
						micros, timeEnd := dates.PlainTimestamp([]byte(text+"T00:00:00Z\"   \n"), 0)
						if (end > 0) != (fit == Fits) || (timeEnd > 0) != (fit == Fits) {
							t.Fatalf("%s, %s: the date ends at %d, the timestamp at %d, the slow path says %s", text, name, end, timeEnd, fit)
						}
						if end > 0 && (got != want || micros != int64(want)*SecondsPerDay*1_000_000) {
							t.Fatalf("%s, %s: day %d, timestamp %d, want day %d", text, name, got, micros, want)
						}
					}
				}
			}
		}
	}
}
