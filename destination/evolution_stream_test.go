package main

import (
	"fmt"
	"slices"
	"strings"
)

// Choices decide what happens in a history. When they are used up, the first of all there is happens.
type choices []byte

// of chooses one of n things.
func (c *choices) of(n int) int {
	if len(*c) == 0 {
		return 0
	}
	chosen := int((*c)[0]) % n
	*c = (*c)[1:]
	return chosen
}

func pick[T any](c *choices, of ...T) T { return of[c.of(len(of))] }

// A property of a made-up stream.
type property struct {
	name       string
	kind       string // text, json, integer, number, texts, object or objects
	properties []property
}

func (p property) schema() any {
	switch p.kind {
	case "text":
		return map[string]any{"type": "string"}
	case "json":
		return map[string]any{}
	case "texts":
		return map[string]any{"type": "array", "items": map[string]any{"type": "string"}}
	case "object":
		return objectSchema(p.properties)
	case "objects":
		return map[string]any{"type": "array", "items": objectSchema(p.properties)}
	}
	return map[string]any{"type": p.kind}
}

func objectSchema(properties []property) any {
	all := map[string]any{}
	for _, p := range properties {
		all[p.name] = p.schema()
	}
	return map[string]any{"type": "object", "properties": all}
}

// properties makes up those of a stream, or of an object in it.
func (e *evolution) properties(depth int) []property {
	kinds := []string{"text", "json", "integer", "number", "texts", "object", "objects"}
	if depth == 2 {
		kinds = kinds[:5]
	}
	var all []property
	for range 1 + e.choices.of(4) {
		p := property{name: pick(&e.choices, "a", "A", "a_json", "A_String", "first name", "First_Name", "o", "O"), kind: pick(&e.choices, kinds...)}
		if slices.ContainsFunc(all, func(o property) bool { return o.name == p.name }) {
			continue
		}
		if strings.HasPrefix(p.kind, "object") {
			p.properties = e.properties(depth + 1)
		}
		all = append(all, p)
	}
	return all
}

// value makes up a value with tokens that no other has, and notes them in the record.
func (e *evolution) value(p property, above []string, r *record) any {
	path := append(slices.Clone(above), p.name)
	if p.kind == "texts" || p.kind == "objects" {
		path[len(path)-1] += "[]"
	}
	if p.kind == "object" || p.kind == "objects" {
		value := map[string]any{}
		for _, inner := range p.properties {
			value[inner.name] = e.value(inner, path, r)
		}
		if p.kind == "objects" {
			return []any{value}
		}
		return value
	}
	e.token++
	token := e.token
	switch p.name {
	case "id": // a key has few values
		token = 900 + e.choices.of(5)
	case "code":
		token = 910 + e.choices.of(3)
	}
	r.sent[token] = &sent{path: path, kind: p.kind}
	text := fmt.Sprintf("t%d", token)
	switch p.kind {
	case "text":
		return text
	case "integer":
		return token
	case "number":
		return float64(token) + 0.5
	case "texts":
		return []any{text}
	}
	return pick[any](&e.choices, map[string]any{"j": token}, []any{text}, text, token)
}
