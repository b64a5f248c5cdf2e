package cli

import (
	"fmt"
	"runtime"
	"runtime/debug"
	"strings"
)

// Version, Commit and Date tell which connectors these are. The linker sets them. A
// program that was built in a checkout finds them in itself, for --version.
var (
	Version = "dev"
	Commit  = ""
	Date    = "" // of the commit, as in 2026-11-29
)

// versionText is what --version prints after the program's name.
func versionText() string {
	version, commit, date := Version, Commit, Date
	if info, ok := debug.ReadBuildInfo(); ok && commit == "" {
		if module := info.Main.Version; version == "dev" && module != "" && module != "(devel)" {
			version = module
		}
		for _, s := range info.Settings {
			switch s.Key {
			case "vcs.revision":
				commit = s.Value
			case "vcs.time":
				date, _, _ = strings.Cut(s.Value, "T")
			}
		}
	}
	var details []string
	if commit != "" {
		details = append(details, "commit "+commit[:min(len(commit), 12)])
	}
	if date != "" {
		details = append(details, date)
	}
	details = append(details, runtime.Version(), runtime.GOOS+"/"+runtime.GOARCH)
	return fmt.Sprintf("%s (%s)", version, strings.Join(details, ", "))
}
