package main

import "testing"

func TestCoresShareTheMemory(t *testing.T) {
	for _, c := range []struct{ cores, memory, want int }{
		{1, 256, 1},
		{2, 256, 2},
		{4, 256, 4},
		{16, 256, 4},
		{64, 256, 4},
		{16, 512, 8},
		{64, 512, 8},
		{64, 16_384, 64},
	} {
		if got := (Config{Memory: c.memory}).parallel(c.cores); got != c.want {
			t.Errorf("%d cores with %d MiB: %d workers, want %d", c.cores, c.memory, got, c.want)
		}
	}
}
