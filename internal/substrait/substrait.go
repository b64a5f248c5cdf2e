// Package substrait stands in for the module of the same name, which holds the descriptions of all functions of
// Substrait as YAML files. iceberg-go's package table parses them at the start of every program, which takes 0.1 s and
// 32 MB. It needs them for scans with a row filter alone. Nothing here has one: package filter selects rows.
package substrait

import "embed"

// The parser needs one file.
//
//go:embed extensions/none.yaml
var extensions embed.FS

// GetSubstraitExtensionsFS returns the descriptions, of which there are none.
func GetSubstraitExtensionsFS() embed.FS { return extensions }
