package member

import (
	"math"
	"time"
)

// strain is what day d costs the member in the end, on WHOOP's scale to 21.
func (l life) strain(d int) float64 {
	return 4 + 15*math.Sqrt(l.dice("strain", d).Float64())*l.dice("effort", d/7).number(0.6, 1)
}

// cycleScore is the score of the cycle of day d when a share of it has passed.
func (l life) cycleScore(d int, share float64) cycleScore {
	r := l.dice("cycle score", d)
	strain := l.strain(d)
	return cycleScore{
		Strain:           rounded(strain*math.Sqrt(share), 7),
		Kilojoule:        rounded((5500+420*strain+r.number(-400, 400))*share, 3),
		AverageHeartRate: 54 + int(strain) + r.IntN(6),
		MaxHeartRate:     96 + int(5*strain*math.Sqrt(share)) + r.IntN(4),
	}
}

// newcomer is how long WHOOP withholds what it can only compare with a history.
const newcomer = 7 * day

// calibrating is how long recoveries count as provisional.
const calibrating = 4 * day

// oldStrap is how long a member wears a strap without SpO2 and skin temperature.
const oldStrap = 45 * day

// sleepScore is the score of a sleep or nap with these bounds, for a member who
// joined so long before it.
func (l life) sleepScore(a activity, start, end time.Time, membership time.Duration) sleepScore {
	r := l.dice(a.kind+" score", a.day*8+a.nth)
	need := l.sleepNeeded(a.day)
	inBed := end.Sub(start).Milliseconds()
	share := func(lo, hi float64) int64 { return int64(float64(inBed) * r.number(lo, hi)) }
	s := stageSummary{InBed: inBed, Awake: share(0.03, 0.12)}
	if r.chance(0.08) {
		s.NoData = share(0, 0.05)
	}
	s.SlowWave, s.REM = share(0.12, 0.25), share(0.14, 0.27)
	s.Light = inBed - s.Awake - s.NoData - s.SlowWave - s.REM
	asleep := s.Light + s.SlowWave + s.REM
	s.SleepCycles = int(asleep / (90 * time.Minute).Milliseconds())
	s.Disturbances = r.IntN(4) + int(asleep/(40*time.Minute).Milliseconds())

	score := sleepScore{StageSummary: s, SleepNeeded: need}
	if !r.chance(0.03) {
		score.RespiratoryRate = some(rounded(r.number(12, 19), 8))
	}
	performance := min(100, 100*float64(asleep)/float64(need.Baseline+need.SleepDebt+need.RecentStrain+need.RecentNap))
	consistency := r.number(45, 99)
	if membership >= newcomer {
		score.SleepPerformancePercentage = some(rounded(performance, 0))
		score.SleepConsistencyPercentage = some(rounded(consistency, 0))
	}
	if !r.chance(0.02) {
		score.SleepEfficiencyPercentage = some(rounded(100*float64(asleep)/float64(inBed), 8))
	}
	return score
}

// sleepNeeded is what the night before day d had to give. It follows from the
// day before: strain adds to it, a nap takes from it.
func (l life) sleepNeeded(d int) sleepNeeded {
	r := l.dice("need", d)
	need := sleepNeeded{
		Baseline:     27_000_000 + int64(l.seed%1000)*1000 + int64(r.IntN(600_000)),
		SleepDebt:    int64(r.IntN(4_000_000)),
		RecentStrain: int64(l.strain(d-1) * 60_000),
	}
	naps, _ := l.waking(d - 1)
	for _, nap := range naps {
		need.RecentNap -= nap.end.Sub(nap.start).Milliseconds() / 2
	}
	return need
}

func (l life) recoveryScore(a activity, version int, membership time.Duration) recoveryScore {
	r := l.dice(a.kind+" recovery", a.day*8+version)
	score := recoveryScore{
		UserCalibrating:  membership < calibrating,
		RecoveryScore:    rounded(r.number(1, 99), 0),
		RestingHeartRate: rounded(r.number(46, 64), 0),
		HRV:              rounded(r.number(22, 120), 6),
	}
	if membership >= oldStrap && !r.chance(0.03) {
		score.SpO2 = some(rounded(r.number(93, 99), 4))
		score.SkinTemperature = some(rounded(r.number(32.5, 35.5), 1))
	}
	return score
}

func (l life) sport(a activity) sport {
	r := l.dice("sport", a.day*8+a.nth)
	return sports[r.IntN(1+r.IntN(len(sports)))] // the first ones most often
}

func (l life) workoutScore(a activity, start, end time.Time) workoutScore {
	r := l.dice("workout score", a.day*8+a.nth)
	minutes := end.Sub(start).Minutes()
	effort := r.Float64()
	score := workoutScore{
		Strain:           rounded(min(21, 1+effort*12+minutes/30), 7),
		AverageHeartRate: 88 + int(effort*70),
		MaxHeartRate:     115 + int(effort*70) + r.IntN(8),
		Kilojoule:        rounded(minutes*(9+effort*40), 4),
		PercentRecorded:  100,
		Zones:            zones(r, end.Sub(start).Milliseconds(), effort),
	}
	if r.chance(0.2) {
		score.PercentRecorded = rounded(r.number(70, 100), 3)
	}
	if l.sport(a).outside && !r.chance(0.15) {
		gain := rounded(r.number(0, 300), 2)
		score.Distance = some(rounded(minutes*r.number(80, 400), 3))
		score.AltitudeGain = some(gain)
		score.AltitudeChange = some(rounded(r.number(-40, 40), 2))
	}
	return score
}

// zones spreads a duration over the heart-rate zones.
func zones(r dice, total int64, effort float64) zoneDurations {
	weights := [6]float64{1 - effort, 1.5 - effort, 1, effort, effort / 2, effort * effort / 4}
	var sum float64
	for i := range weights {
		weights[i] *= r.Float64()
		sum += weights[i]
	}
	var milli [6]int64
	left := total
	for i := 1; i < len(milli); i++ {
		milli[i] = int64(float64(total) * weights[i] / sum)
		left -= milli[i]
	}
	return zoneDurations{left, milli[1], milli[2], milli[3], milli[4], milli[5]}
}

// names are chosen by the seed; not all fit into ASCII.
var names = [...][2]string{
	{"Robin", "Hale"}, {"Zoë", "Ruiz"}, {"Łukasz", "Nowak"}, {"Aoife", "O'Brien"}, {"さくら", "佐藤"},
}

func (l life) userID() int64 {
	return l.ids + 10_000_000 + int64(l.dice("user id", 0).IntN(30_000_000))
}

func (l life) Person() Person {
	name := names[l.seed%uint64(len(names))]
	return Person{UserID: l.userID(), Email: "member@example.com", FirstName: name[0], LastName: name[1]}
}

// bodyMeasurement is what the member weighs on day d; it changes now and then.
func (l life) bodyMeasurement(d int) bodyMeasurement {
	r := l.dice("body", 0)
	height, weight, rate := r.number(1.55, 1.98), r.number(52, 98), 178+r.IntN(18)
	return bodyMeasurement{
		Height:       rounded(height, 4),
		Weight:       rounded(weight+l.dice("weight", d/9).number(-2, 2), 1),
		MaxHeartRate: rate + l.dice("max heart rate", d/200).IntN(3),
	}
}
