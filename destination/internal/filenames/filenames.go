// Package filenames says where the files of a lake lie, and which of them this
// program made.
package filenames

import (
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/google/uuid"
)

// Mark ends the names of this program's files, before their extension. What
// removes files without being asked removes only those that have it, and metadata
// files, which have the library's names, if they are in the history of the table.
const Mark = "-whoop-iceberg"

// OrphanAge is how old a file that nothing names must be to be removed. A younger one may
// belong to a writer that has not committed yet.
const OrphanAge = 24 * time.Hour

var marked = regexp.MustCompile(`^(snap-[0-9]+-0-)?[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}(-m[0-9]+)?` + Mark + `\.[a-z]+$`)

// New is a name that no other file has; extension begins with a dot.
func New(extension string) string {
	return uuid.Must(uuid.NewV7()).String() + Mark + extension
}

// HasMark reports whether a file's name says that this program made it.
func HasMark(location string) bool { return marked.MatchString(path.Base(location)) }

// Within reports whether one path is another one or lies below it. Both are as
// [Plain] returns them.
func Within(inner, outer string) bool {
	return inner == outer || strings.HasPrefix(inner, strings.TrimSuffix(outer, "/")+"/")
}

// Plain is one way to write a location, of the several there are. That of a local file is
// its path, with slashes; on Windows /C:/lake is C:\lake.
func Plain(location string) string { return plain(location, onWindows) }

func plain(location string, windows bool) string {
	if windows && hasDrive(location) {
		location = "/" + strings.ReplaceAll(location, `\`, "/")
		return path.Clean(strings.ToUpper(location[:2]) + location[2:])
	}
	u, err := url.Parse(location)
	switch {
	case err != nil || u.Scheme == "":
		return path.Clean(location)
	case u.Scheme == "file" && windows && u.Path != "" && hasDrive(u.Path[1:]):
		return plain(u.Path[1:], windows)
	case u.Scheme == "file":
		return path.Clean(u.Path)
	case u.Scheme == "s3a" || u.Scheme == "s3n":
		u.Scheme = "s3"
	}
	return u.Scheme + "://" + u.Host + path.Clean("/"+u.Path)
}

const onWindows = runtime.GOOS == "windows"

// hasDrive reports whether a path begins with a drive of Windows.
func hasDrive(path string) bool {
	return len(path) >= 2 && path[1] == ':' && ('a' <= path[0]|0x20 && path[0]|0x20 <= 'z')
}

// Local is the path of a local file as this system writes it: C:\lake is the one of
// file:///C:/lake and /C:/lake. A location that is neither is returned as it is.
func Local(location string) string { return local(location, onWindows) }

func local(location string, windows bool) string {
	if u, err := url.Parse(location); err == nil && u.Scheme == "file" {
		location = u.Path
	}
	if windows && location != "" && location[0] == '/' && hasDrive(location[1:]) {
		return strings.ReplaceAll(location[1:], "/", `\`)
	}
	return location
}

// ResolveLinks returns the plain path of a location with the links of this machine resolved,
// as far as the path is there.
func ResolveLinks(location string) string {
	plain := Plain(location)
	if !strings.HasPrefix(plain, "/") {
		return plain
	}
	if real, err := filepath.EvalSymlinks(Local(plain)); err == nil {
		return Plain(real)
	}
	dir, name := path.Split(plain)
	if dir == plain || name == "" {
		return plain
	}
	return path.Join(ResolveLinks(dir), name)
}
