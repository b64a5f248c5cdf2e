package snowflaketest

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"regexp"
	"strings"
)

// ReadLocal reads a metadata file of this machine, for [Account.Read].
func ReadLocal(location string) ([]Column, error) {
	return Read(location, func(location string) ([]byte, error) {
		return os.ReadFile(strings.TrimPrefix(location, "file://"))
	})
}

// Read reads a metadata file, for [Account.Read]. The snapshot that it names must have
// its manifest list. read reads a file.
func Read(location string, read func(location string) ([]byte, error)) ([]Column, error) {
	text, err := read(location)
	if err != nil {
		return nil, err
	}
	var metadata struct {
		FormatVersion   int   `json:"format-version"`
		CurrentSchema   int   `json:"current-schema-id"`
		CurrentSnapshot int64 `json:"current-snapshot-id"`
		Schemas         []struct {
			ID     int `json:"schema-id"`
			Fields []struct {
				Name string
				Type json.RawMessage
			}
		}
		Snapshots []struct {
			ID           int64  `json:"snapshot-id"`
			ManifestList string `json:"manifest-list"`
		}
	}
	if err := json.Unmarshal(text, &metadata); err != nil {
		return nil, err
	}
	if metadata.FormatVersion < 1 || metadata.FormatVersion > 3 {
		return nil, fmt.Errorf("it has the format version %d", metadata.FormatVersion)
	}
	found := false
	for _, s := range metadata.Snapshots {
		if s.ID != metadata.CurrentSnapshot {
			continue
		}
		found = true
		if _, err := read(s.ManifestList); err != nil {
			return nil, err
		}
	}
	if !found {
		return nil, errors.New("it has no current snapshot")
	}
	var columns []Column
	for _, schema := range metadata.Schemas {
		if schema.ID != metadata.CurrentSchema {
			continue
		}
		for _, field := range schema.Fields {
			columns = append(columns, Column{field.Name, typeOf(field.Type)})
		}
	}
	return columns, nil
}

var decimal = regexp.MustCompile(`^decimal\((\d+), *(\d+)\)$`)

// typeOf returns the type of Snowflake for one of Iceberg.
func typeOf(raw json.RawMessage) string {
	var nested struct{ Type string }
	if json.Unmarshal(raw, &nested) == nil {
		return map[string]string{"struct": "OBJECT()", "list": "ARRAY()", "map": "MAP()"}[nested.Type]
	}
	name := strings.Trim(string(raw), `"`)
	if m := decimal.FindStringSubmatch(name); m != nil {
		return "NUMBER(" + m[1] + "," + m[2] + ")"
	}
	return map[string]string{
		"boolean": "BOOLEAN", "int": "NUMBER(10,0)", "long": "NUMBER(19,0)", "float": "FLOAT", "double": "FLOAT", "string": "VARCHAR(134217728)",
		"binary": "BINARY(67108864)", "date": "DATE", "time": "TIME(6)", "timestamp": "TIMESTAMP_NTZ(6)", "timestamptz": "TIMESTAMP_LTZ(6)",
	}[name]
}
