package lake

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
)

func TestScansWaitForOneAnother(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		scans := NewScans(2)
		for range 2 {
			if err := scans.begin(t.Context()); err != nil {
				t.Fatal(err)
			}
		}
		began := make(chan error, 1)
		go func() { began <- scans.begin(t.Context()) }()
		synctest.Wait()
		select {
		case err := <-began:
			t.Fatalf("a third scan of two began: %v", err)
		default:
		}
		scans.end()
		if err := <-began; err != nil {
			t.Error(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := scans.begin(ctx); !errors.Is(err, context.Canceled) {
			t.Errorf("a scan that is no longer wanted: %v", err)
		}
	})
}
