// Package filenames says where the files of a lake lie, and which of them this
// program made.
package filenames

import (
	"net/url"
	"path"
	"path/filepath"
	"regexp"
	"strings"

	"github.com/google/uuid"
)

// Mark ends the names of this program's files, before their extension. What
// removes files without being asked removes only those that have it, and metadata
// files, which have the library's names, if they are in the history of the table.
const Mark = "-whoop-iceberg"

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

// Plain is one way to write a location, of the several there are.
func Plain(location string) string {
	u, err := url.Parse(location)
	switch {
	case err != nil || u.Scheme == "":
		return path.Clean(location)
	case u.Scheme == "file":
		return path.Clean(u.Path)
	case u.Scheme == "s3a" || u.Scheme == "s3n":
		u.Scheme = "s3"
	}
	return u.Scheme + "://" + u.Host + path.Clean("/"+u.Path)
}

// ResolveLinks returns the plain path of a location with the links of this machine resolved,
// as far as the path is there.
func ResolveLinks(location string) string {
	plain := Plain(location)
	if !strings.HasPrefix(plain, "/") {
		return plain
	}
	if real, err := filepath.EvalSymlinks(plain); err == nil {
		return real
	}
	dir, name := filepath.Split(plain)
	if dir == plain || name == "" {
		return plain
	}
	return filepath.Join(ResolveLinks(dir), name)
}
