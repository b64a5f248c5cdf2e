// Package jsonerrors says in the words of JSON, not of Go, why a document cannot be
// decoded, and nothing of the values in it, which may be secret.
package jsonerrors

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
)

// Reason describes an error of encoding/json.
func Reason(err error) string {
	var wrongType *json.UnmarshalTypeError
	if errors.As(err, &wrongType) {
		return "it is of type " + GivenType(wrongType)
	}
	return err.Error()
}

// GivenType returns the JSON type of a value that has the wrong one.
func GivenType(err *json.UnmarshalTypeError) string {
	value, _, _ := strings.Cut(err.Value, " ")
	if value == "bool" {
		return "boolean"
	}
	return value
}

// WantedType returns the JSON type that the value should have.
func WantedType(err *json.UnmarshalTypeError) string { return typeOf(err.Type) }

// typeOf names the JSON type that t is decoded from.
func typeOf(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Bool:
		return "boolean"
	case reflect.String:
		return "string"
	case reflect.Slice, reflect.Array:
		return "array"
	case reflect.Float32, reflect.Float64:
		return "number"
	case reflect.Struct, reflect.Map:
		return "object"
	case reflect.Pointer:
		return typeOf(t.Elem())
	default:
		return "integer"
	}
}
