package member

import (
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"time"
)

// The shapes below are those of WHOOP's OpenAPI document. A field of type
// optional may be missing or null.

type cycle struct {
	ID             int64                `json:"id"`
	UserID         int64                `json:"user_id"`
	CreatedAt      string               `json:"created_at"`
	UpdatedAt      string               `json:"updated_at"`
	Start          string               `json:"start"`
	End            optional[string]     `json:"end,omitzero"`
	TimezoneOffset string               `json:"timezone_offset"`
	ScoreState     string               `json:"score_state"`
	Score          optional[cycleScore] `json:"score,omitzero"`
}

type cycleScore struct {
	Strain           float `json:"strain"`
	Kilojoule        float `json:"kilojoule"`
	AverageHeartRate int   `json:"average_heart_rate"`
	MaxHeartRate     int   `json:"max_heart_rate"`
}

type sleep struct {
	ID             string               `json:"id"`
	CycleID        int64                `json:"cycle_id"`
	V1ID           int64                `json:"v1_id,omitzero"`
	UserID         int64                `json:"user_id"`
	CreatedAt      string               `json:"created_at"`
	UpdatedAt      string               `json:"updated_at"`
	Start          string               `json:"start"`
	End            string               `json:"end"`
	TimezoneOffset string               `json:"timezone_offset"`
	Nap            bool                 `json:"nap"`
	ScoreState     string               `json:"score_state"`
	Score          optional[sleepScore] `json:"score,omitzero"`
}

type sleepScore struct {
	StageSummary               stageSummary    `json:"stage_summary"`
	SleepNeeded                sleepNeeded     `json:"sleep_needed"`
	RespiratoryRate            optional[float] `json:"respiratory_rate,omitzero"`
	SleepPerformancePercentage optional[float] `json:"sleep_performance_percentage,omitzero"`
	SleepConsistencyPercentage optional[float] `json:"sleep_consistency_percentage,omitzero"`
	SleepEfficiencyPercentage  optional[float] `json:"sleep_efficiency_percentage,omitzero"`
}

type stageSummary struct {
	InBed        int64 `json:"total_in_bed_time_milli"`
	Awake        int64 `json:"total_awake_time_milli"`
	NoData       int64 `json:"total_no_data_time_milli"`
	Light        int64 `json:"total_light_sleep_time_milli"`
	SlowWave     int64 `json:"total_slow_wave_sleep_time_milli"`
	REM          int64 `json:"total_rem_sleep_time_milli"`
	SleepCycles  int   `json:"sleep_cycle_count"`
	Disturbances int   `json:"disturbance_count"`
}

type sleepNeeded struct {
	Baseline     int64 `json:"baseline_milli"`
	SleepDebt    int64 `json:"need_from_sleep_debt_milli"`
	RecentStrain int64 `json:"need_from_recent_strain_milli"`
	RecentNap    int64 `json:"need_from_recent_nap_milli"`
}

type recovery struct {
	CycleID    int64                   `json:"cycle_id"`
	SleepID    string                  `json:"sleep_id"`
	UserID     int64                   `json:"user_id"`
	CreatedAt  string                  `json:"created_at"`
	UpdatedAt  string                  `json:"updated_at"`
	ScoreState string                  `json:"score_state"`
	Score      optional[recoveryScore] `json:"score,omitzero"`
}

type recoveryScore struct {
	UserCalibrating  bool            `json:"user_calibrating"`
	RecoveryScore    float           `json:"recovery_score"`
	RestingHeartRate float           `json:"resting_heart_rate"`
	HRV              float           `json:"hrv_rmssd_milli"`
	SpO2             optional[float] `json:"spo2_percentage,omitzero"`
	SkinTemperature  optional[float] `json:"skin_temp_celsius,omitzero"`
}

type workout struct {
	ID             string                 `json:"id"`
	V1ID           int64                  `json:"v1_id,omitzero"`
	UserID         int64                  `json:"user_id"`
	CreatedAt      string                 `json:"created_at"`
	UpdatedAt      string                 `json:"updated_at"`
	Start          string                 `json:"start"`
	End            string                 `json:"end"`
	TimezoneOffset string                 `json:"timezone_offset"`
	SportName      string                 `json:"sport_name"`
	SportID        optional[int]          `json:"sport_id,omitzero"`
	ScoreState     string                 `json:"score_state"`
	Score          optional[workoutScore] `json:"score,omitzero"`
}

type workoutScore struct {
	Strain           float           `json:"strain"`
	AverageHeartRate int             `json:"average_heart_rate"`
	MaxHeartRate     int             `json:"max_heart_rate"`
	Kilojoule        float           `json:"kilojoule"`
	PercentRecorded  float           `json:"percent_recorded"`
	Distance         optional[float] `json:"distance_meter,omitzero"`
	AltitudeGain     optional[float] `json:"altitude_gain_meter,omitzero"`
	AltitudeChange   optional[float] `json:"altitude_change_meter,omitzero"`
	Zones            zoneDurations   `json:"zone_durations"`
}

type zoneDurations struct {
	Zero  int64 `json:"zone_zero_milli"`
	One   int64 `json:"zone_one_milli"`
	Two   int64 `json:"zone_two_milli"`
	Three int64 `json:"zone_three_milli"`
	Four  int64 `json:"zone_four_milli"`
	Five  int64 `json:"zone_five_milli"`
}

// A Person is the profile.
type Person struct {
	UserID    int64  `json:"user_id"`
	Email     string `json:"email"`
	FirstName string `json:"first_name"`
	LastName  string `json:"last_name"`
}

type bodyMeasurement struct {
	Height       float `json:"height_meter"`
	Weight       float `json:"weight_kilogram"`
	MaxHeartRate int   `json:"max_heart_rate"`
}

// optional is a field that WHOOP may leave out or set to null.
type optional[T any] struct {
	value *T
	null  bool
}

func some[T any](v T) optional[T] { return optional[T]{value: &v} }

func (o optional[T]) IsZero() bool { return o.value == nil && !o.null }

func (o optional[T]) MarshalJSON() ([]byte, error) {
	return json.Marshal(o.value)
}

// float is a number that WHOOP declares as a float. Whole ones arrive now as
// 44.0, now as 44: here the even and the odd ones.
type float float64

func (f float) MarshalJSON() ([]byte, error) {
	text := strconv.AppendFloat(nil, float64(f), 'f', -1, 64)
	if math.Mod(float64(f), 2) == 0 {
		text = append(text, ".0"...)
	}
	return text, nil
}

// rounded returns v with a number of decimals.
func rounded(v float64, decimals int) float {
	scale := math.Pow10(decimals)
	return float(math.Round(v*scale) / scale)
}

func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }

// offsetText writes an offset as WHOOP does: ±hh:mm, or Z for none.
func offsetText(d time.Duration) string {
	if d == 0 {
		return "Z"
	}
	sign := '+'
	if d < 0 {
		sign, d = '-', -d
	}
	return fmt.Sprintf("%c%02d:%02d", sign, int(d.Hours()), int(d.Minutes())%60)
}
