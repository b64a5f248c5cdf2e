package scalar

import (
	"bytes"
	"encoding/binary"
	"math"
)

// highBits has the highest bit of each byte set.
const highBits = 0x8080808080808080

// Dates and timestamps are the days and microseconds since 1970, of the years
// 1 to 9999 of the Gregorian calendar. A second 60 is the first moment of the
// next minute, as POSIX counts leap seconds.

const (
	SecondsPerDay = 24 * 60 * 60
	FirstMicro    = -719162 * SecondsPerDay * 1_000_000 // 0001-01-01
	EndMicro      = 2932897 * SecondsPerDay * 1_000_000 // 10000-01-01
)

// Dates remembers dates that timestamps had: many have the same. Its zero value is ready.
type Dates struct{ byDay [32]date }

type date struct {
	yearMonth, day uint64
	start          int64 // microseconds since 1970
}

// PlainTimestamp reads the usual forms of a timestamp in a JSON string,
// 2006-01-02T15:04:05.999999Z with or without the fraction and the Z, up to and
// with the closing quote; end is -1 for any other form.
func (d *Dates) PlainTimestamp(b []byte, i int) (micros int64, end int) {
	if len(b)-i < 24 {
		return 0, -1
	}
	t := b[i : i+20 : i+20]
	// With the separators subtracted, every byte must be a digit's value, and
	// at the separators' places zero.
	w0 := binary.LittleEndian.Uint64(t) ^ 0x2d30302d30303030             // 0000-00-
	w1 := binary.LittleEndian.Uint64(t[8:]) ^ 0x30303a3030543030         // 00T00:00
	w2 := uint64(binary.LittleEndian.Uint32(t[16:]))&0xffffff ^ 0x30303a // :00
	bad := w0 | (w0 + 0x7f76767f76767676) | w1 | (w1 + 0x76767f76767f7676) | w2 | (w2 + 0x76767f)
	if bad&highBits != 0 {
		return 0, -1
	}
	// Pairs of digits as numbers, in the place of their first digit.
	w1 = w1*10 + w1>>8
	w2 = w2*10 + w2>>8
	start := d.startOfDay(w0, w1&0xff)
	if start == noDay {
		return 0, -1
	}
	hour, minute, second := int64(w1>>24&0xff), int64(w1>>48&0xff), int64(w2>>8&0xff)
	if hour > 23 || minute > 59 || second > 59 {
		return 0, -1
	}
	i += 19
	fraction, count := int64(0), 0
	if t[19] == '.' {
		for i++; b[i]-'0' <= 9; i++ {
			fraction = fraction*10 + int64(b[i]-'0')
			count++
		}
		if count == 0 || count > 6 {
			return 0, -1
		}
	}
	if b[i] == 'Z' {
		i++
	}
	if b[i] != '"' {
		return 0, -1
	}
	return start + (hour*3600+minute*60+second)*1_000_000 + fraction*microsOfFraction[count], i + 1
}

// noDay is no start of a day.
const noDay = math.MinInt64

// startOfDay returns the microseconds from 1970 to the start of a date; noDay if there is
// none. yearMonth are the digits of both as in PlainTimestamp.
func (d *Dates) startOfDay(yearMonth, day uint64) int64 {
	if day == 0 { // as in 0000-00-00, which would be a place that is not taken
		return noDay
	}
	known := &d.byDay[day&31]
	if known.yearMonth == yearMonth && known.day == day {
		return known.start
	}
	pairs := yearMonth*10 + yearMonth>>8
	year, month := int(pairs&0xff)*100+int(pairs>>16&0xff), int(pairs>>40&0xff)
	if !isDate(year, month, int(day)) {
		return noDay
	}
	*known = date{yearMonth, day, days(year, month, int(day)) * SecondsPerDay * 1_000_000}
	return known.start
}

// PlainDate reads a date in a JSON string, 2006-01-02, up to and with the closing quote;
// end is -1 for any other form.
func (d *Dates) PlainDate(b []byte, i int) (day int32, end int) {
	if len(b)-i < 16 {
		return 0, -1
	}
	t := b[i : i+16 : i+16]
	w0 := binary.LittleEndian.Uint64(t) ^ 0x2d30302d30303030            // 0000-00-
	w1 := binary.LittleEndian.Uint64(t[8:])&0xffffff ^ uint64(0x223030) // 00"
	bad := w0 | (w0 + 0x7f76767f76767676) | w1 | (w1 + 0x7f7676)
	if bad&highBits != 0 {
		return 0, -1
	}
	w1 = w1*10 + w1>>8
	start := d.startOfDay(w0, w1&0xff)
	if start == noDay {
		return 0, -1
	}
	return int32(start / (SecondsPerDay * 1_000_000)), i + 11
}

// microsOfFraction is the worth of the last digit of a fraction of a second.
var microsOfFraction = [...]int64{0, 100_000, 10_000, 1000, 100, 10, 1}

// ParseTimestamp reads a timestamp leniently: T or a blank between date and
// time, or no time; no seconds, or a fraction of any length, of which what is
// finer than microseconds is cut off; Z, UTC or an offset, or none. An instant without an offset is
// in UTC. A wall-clock time with an offset other than zero is wrong: either
// reading of it would change it.
func ParseTimestamp(text []byte, zoned bool) (micros int64, f Fit) {
	day, rest, f := parseCalendarDay(text)
	if f != Fits {
		return 0, f
	}
	micros, offset, f := parseTimeOfDay(rest)
	if !f.Kept() || offset != 0 && !zoned {
		return 0, WrongType
	}
	micros += (day*SecondsPerDay - offset) * 1_000_000
	if micros < FirstMicro || micros >= EndMicro {
		return 0, TooLarge
	}
	return micros, f
}

// ParseDate reads a date. A time that follows it must be midnight, or the date
// would lose something.
func ParseDate(text []byte) (int32, Fit) {
	day, rest, f := parseCalendarDay(text)
	if f != Fits {
		return 0, f
	}
	if micros, _, f := parseTimeOfDay(rest); f != Fits || micros != 0 {
		return 0, WrongType
	}
	return int32(day), Fits
}

// parseCalendarDay reads the date that text begins with.
func parseCalendarDay(text []byte) (day int64, rest []byte, f Fit) {
	text, bc := bytes.CutSuffix(text, []byte(" BC"))
	year := 0
	i := 0
	for ; i < len(text) && text[i]-'0' <= 9 && i < 9; i++ {
		year = year*10 + int(text[i]-'0')
	}
	text = text[i:]
	if i < 4 || len(text) < 6 || text[0] != '-' || text[3] != '-' {
		return 0, nil, WrongType
	}
	month, d := twoDigits(text[1:]), twoDigits(text[4:])
	if bc || year == 0 || year > 9999 {
		return 0, nil, TooLarge
	}
	if !isDate(year, month, d) {
		return 0, nil, WrongType
	}
	return days(year, month, d), text[6:], Fits
}

// parseTimeOfDay reads what follows the date: the time since midnight in
// microseconds and the offset from UTC in seconds, both 0 when nothing does. What
// is finer than microseconds is cut off, and the fit is Rounded.
func parseTimeOfDay(text []byte) (micros, offset int64, f Fit) {
	if len(text) == 0 {
		return 0, 0, Fits
	}
	if len(text) < 6 || text[0]|0x20 != 't' && text[0] != ' ' || text[3] != ':' {
		return 0, 0, WrongType
	}
	hour, minute, second := twoDigits(text[1:]), twoDigits(text[4:]), 0
	text = text[6:]
	f = Fits
	if len(text) >= 3 && text[0] == ':' {
		second = twoDigits(text[1:])
		text = text[3:]
		if len(text) > 1 && (text[0] == '.' || text[0] == ',') && text[1]-'0' <= 9 {
			worth := int64(100_000)
			for text = text[1:]; len(text) > 0 && text[0]-'0' <= 9; text = text[1:] {
				if worth == 0 && text[0] != '0' {
					f = Rounded
				}
				micros += int64(text[0]-'0') * worth
				worth /= 10
			}
		}
	}
	if hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 60 {
		return 0, 0, WrongType
	}
	offset, ok := parseOffset(text)
	if !ok {
		return 0, 0, WrongType
	}
	return micros + int64(hour*3600+minute*60+second)*1_000_000, offset, f
}

// parseOffset reads Z, UTC, ±hh, ±hhmm, ±hh:mm, ±hhmmss, ±hh:mm:ss or nothing,
// after a blank or not. Offsets with seconds are those of local mean time.
func parseOffset(text []byte) (seconds int64, ok bool) {
	text = bytes.TrimPrefix(text, []byte(" "))
	switch string(text) {
	case "", "Z", "z", "UTC":
		return 0, true
	}
	if text[0] != '+' && text[0] != '-' {
		return 0, false
	}
	negative := text[0] == '-'
	text = text[1:]
	for i, most := range [...]int{23, 59, 59} {
		if i > 0 && len(text) == 0 {
			break
		}
		if i > 0 {
			text = bytes.TrimPrefix(text, []byte(":"))
		}
		if len(text) < 2 {
			return 0, false
		}
		part := twoDigits(text)
		if part < 0 || part > most {
			return 0, false
		}
		seconds += int64(part) * [...]int64{3600, 60, 1}[i]
		text = text[2:]
	}
	if len(text) > 0 {
		return 0, false
	}
	if negative {
		seconds = -seconds
	}
	return seconds, true
}

// twoDigits reads two digits; it is negative when they are none.
func twoDigits(text []byte) int {
	tens, units := text[0]-'0', text[1]-'0'
	if tens > 9 || units > 9 {
		return -1
	}
	return int(tens)*10 + int(units)
}

var monthDays = [...]int{0, 31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31}

// isDate reports whether a day of the years 1 to 9999 exists.
func isDate(year, month, day int) bool {
	if year < 1 || year > 9999 || month < 1 || month > 12 || day < 1 || day > monthDays[month] {
		return false
	}
	return month != 2 || day < 29 || year%4 == 0 && (year%100 != 0 || year%400 == 0)
}

// days counts from 1970-01-01 to a date of the Gregorian calendar, in years
// that begin in March, so that the leap day is the last.
func days(year, month, day int) int64 {
	if month <= 2 {
		year--
		month += 12
	}
	era := year / 400
	yearOfEra := year - era*400
	dayOfYear := (153*(month-3)+2)/5 + day - 1
	dayOfEra := yearOfEra*365 + yearOfEra/4 - yearOfEra/100 + dayOfYear
	return int64(era*146097 + dayOfEra - 719468)
}
