// Package driverenv sets what Snowflake's driver reads from the environment while it
// is initialised. Go initialises packages that depend on nothing in the order of their
// import paths, and this one's comes before the driver's.
package driverenv

import "os"

func init() {
	for _, name := range []string{
		"SF_DISABLE_MINICORE",                  // it would load a native library from a temporary file
		"SNOWFLAKE_DISABLE_PLATFORM_DETECTION", // it would ask the metadata services of three clouds where it runs
	} {
		if err := os.Setenv(name, "true"); err != nil {
			panic(err) // the name is valid
		}
	}
}
