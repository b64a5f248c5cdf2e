package protocol

import (
	"bytes"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

// messageType returns the value of a line's first top-level member "type", or nil
// when the line is not an object that has one as a string. It reads no further than
// necessary, validates nothing, and allocates nothing. It does not recognise a name
// or value written with escapes.
func messageType(line []byte) []byte {
	for name, value := range rawjson.Members(line) {
		if string(name) == "type" {
			if value[0] != '"' {
				return nil
			}
			return value[1 : len(value)-1]
		}
	}
	return nil
}

// beginsAsMessage distinguishes a message that is broken further on from free text
// in braces: its first member is one of a message.
func beginsAsMessage(line []byte) bool {
	name, found := bytes.CutPrefix(bytes.TrimLeft(line[1:], " \t\r\n"), []byte(`"`))
	if !found {
		return false
	}
	name, _, found = bytes.Cut(name, []byte(`"`))
	switch string(name) {
	case "type", "record", "state", "trace", "log", "control", "spec", "catalog", "connectionStatus", "destination_catalog":
		return found
	}
	return false
}
