package testsize

import "testing"

func TestFullTestsAreAskedForByTheEnvironment(t *testing.T) {
	for value, want := range map[string]int{"": 3, "1": 40} {
		t.Setenv("FULL_TESTS", value)
		if got := Of(3, 40); got != want {
			t.Errorf("with FULL_TESTS=%q: %d cases, want %d", value, got, want)
		}
	}
}
