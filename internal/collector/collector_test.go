package collector

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
)

func TestTheUsualPercentageComesBack(t *testing.T) {
	before := debug.SetGCPercent(100)
	defer debug.SetGCPercent(before)
	untilFirst(250)
	if got := percent(); got != 250 {
		t.Fatalf("before the first collection, the percentage is %d, not 250", got)
	}
	runtime.GC()
	for percent() != 100 { // the cleanup runs in a goroutine of its own
		runtime.Gosched()
	}
}

func percent() uint64 {
	s := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(s)
	return s[0].Value.Uint64()
}
