package scalar

import (
	"strings"
	"testing"
	"time"
)

// FuzzTimestamp holds the parser of timestamps against time.Parse.
func FuzzTimestamp(f *testing.F) {
	for _, text := range []string{
		"2024-02-29T12:34:56Z", "2024-02-29T12:34:56.789123Z", "2024-02-29 12:34:56.1+05:30", "2024-02-29T12:34", "2024-02-29",
		"0001-01-01T00:00:00-00:01", "9999-12-31T23:59:59.9999999Z", "1900-02-29T00:00:00Z", "2000-02-29T00:00:00Z", "2016-12-31T23:59:60Z", "1583-10-10 10:10:10 -1200",
		"0000-00-00T00:00:00Z", "0000-00-00", "2024-00-10T00:00:00", "2024-10-00T00:00:00",
	} {
		f.Add(text)
	}
	layouts := []string{
		"2006-01-02T15:04:05Z07:00", "2006-01-02 15:04:05Z07:00", "2006-01-02T15:04:05Z0700", "2006-01-02 15:04:05Z07", "2006-01-02T15:04:05",
		"2006-01-02 15:04:05", "2006-01-02T15:04Z07:00", "2006-01-02 15:04", "2006-01-02",
	}
	f.Fuzz(func(t *testing.T, text string) {
		got, fit := ParseTimestamp([]byte(text), true)
		if strings.Contains(text, `"`) {
			return // which ends the string
		}
		var dates Dates
		for range 2 { // the second time, it knows the date
			plain, end := dates.PlainTimestamp([]byte(text+"\"\n"), 0)
			if end > 0 && (fit != Fits || plain != got || end != len(text)+1) {
				t.Fatalf("%q: the fast path says %d, the slow one %d %s", text, plain, got, fit)
			}
		}
		if fit == Fits && (got < FirstMicro || got >= EndMicro) {
			t.Fatalf("%q: %d is out of range", text, got)
		}
		for _, layout := range layouts {
			want, err := time.Parse(layout, text)
			if err != nil || want.UTC().Year() < 1 || want.UTC().Year() > 9999 || !plainForm(text) {
				continue
			}
			if cut := want.Nanosecond()%1000 != 0; !fit.Kept() || cut != (fit == Rounded) && layoutIsExact(text) || got != want.Truncate(time.Microsecond).UnixMicro() {
				t.Fatalf("%q: got %d %s, want %d", text, got, fit, want.UnixMicro())
			}
			day, dayFit := ParseDate([]byte(text))
			if midnight := want.Truncate(24*time.Hour).Equal(want) && layout == "2006-01-02"; midnight && (dayFit != Fits || int64(day)*SecondsPerDay != want.Unix()) {
				t.Fatalf("%q: got day %d %s", text, day, dayFit)
			}
			return
		}
	})
}

// layoutIsExact reports whether time.Parse sees all of the text's digits: it drops those beyond nanoseconds.
func layoutIsExact(text string) bool {
	i := strings.LastIndexAny(text, ".,")
	digits := 0
	for i++; i > 0 && i < len(text) && text[i]-'0' <= 9; i++ {
		digits++
	}
	return digits <= 9
}

// plainForm reports whether the hour has two digits and an offset is below 24
// hours and its minutes below 60, none of which time.Parse demands.
func plainForm(text string) bool {
	i := strings.LastIndexAny(text, "+-")
	return (len(text) < 13 || twoDigits([]byte(text[11:])) >= 0) && (i < 11 || i+2 < len(text) && text[i+1:i+3] < "24" && text[len(text)-2:] < "60")
}
