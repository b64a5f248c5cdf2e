// Package testsize says how many cases a large test runs. Its own package
// because the tests of every other one import it.
package testsize

import "os"

// Of returns few, or full where the environment variable FULL_TESTS is set, as
// in make accept. The few cases of a test include every kind of case.
func Of(few, full int) int {
	if os.Getenv("FULL_TESTS") != "" {
		return full
	}
	return few
}
