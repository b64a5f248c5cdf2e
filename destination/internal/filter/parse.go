// Package filter is the language in which a user says which rows of a table are
// meant:
//
//	filter    = condition { "and" condition }
//	condition = column operator value | column "is" [ "not" ] "null"
//	operator  = "=" | "!=" | "<" | "<=" | ">" | ">="
//
// A column of an object is named with dots, as in score.state. A column or a value with
// blanks or signs in it is quoted, either way: 'a b' or "a b"; a quote inside is written
// twice. The column's type says how a value is read, so a number or a date needs no
// quotes and a text none that is one word. A comparison with null is never true, as in
// SQL.
//
// [Parse] reads the text, [Filter.Bind] finds the columns in the schema of a table, and
// [Bound.In] finds them in the columns of a file.
package filter

import (
	"fmt"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A Filter is a text that was read, of no table yet.
type Filter struct{ conditions []condition }

// An operator compares a column with a value or with null.
type operator string

const (
	equal          operator = "="
	notEqual       operator = "!="
	less           operator = "<"
	lessOrEqual    operator = "<="
	greater        operator = ">"
	greaterOrEqual operator = ">="
	isNull         operator = "is null"
	isNotNull      operator = "is not null"
)

func (o operator) isUnary() bool { return o == isNull || o == isNotNull }

type condition struct {
	column []string // the names of the column and of what it is in, from the outside in
	operator
	value string
}

// name is the column's name as it is shown.
func (c condition) name() string { return strings.Join(c.column, ".") }

// Parse reads a filter. Its error is a config_error that says what is wrong where.
func Parse(text string) (*Filter, error) {
	p := &parser{text: text}
	f := &Filter{}
	for {
		c, err := p.condition()
		if err != nil {
			return nil, err
		}
		f.conditions = append(f.conditions, c)
		t, err := p.next()
		switch {
		case err != nil:
			return nil, err
		case t.kind == endOfText:
			return f, nil
		case !t.is("and"):
			return nil, p.fail(`it has %q where "and" or the end should be`, t.text)
		}
	}
}

type tokenKind int

const (
	endOfText tokenKind = iota
	word                // without quotes
	quoted
	sign // an operator, or what looks like one
)

type token struct {
	kind tokenKind
	text string // of one that is quoted, what is in the quotes
}

// is reports whether a token is a word of the language.
func (t token) is(keyword string) bool { return t.kind == word && strings.EqualFold(t.text, keyword) }

type parser struct {
	text string
	at   int
}

func (p *parser) fail(format string, args ...any) error {
	return protocol.ConfigError.Errorf(nil, "The filter %q cannot be read: %s. Write it as in id = 12 and start >= 2026-01-01.", p.text, fmt.Sprintf(format, args...))
}

const (
	blanks = " \t\r\n"
	signs  = "=!<>"
)

func (p *parser) skipBlanks() {
	for p.at < len(p.text) && strings.IndexByte(blanks, p.text[p.at]) >= 0 {
		p.at++
	}
}

// next reads a token.
func (p *parser) next() (token, error) {
	p.skipBlanks()
	if p.at == len(p.text) {
		return token{}, nil
	}
	switch c := p.text[p.at]; {
	case c == '\'' || c == '"':
		text, err := p.quoted(c)
		return token{quoted, text}, err
	case strings.IndexByte(signs, c) >= 0:
		return token{sign, p.while(func(c byte) bool { return strings.IndexByte(signs, c) >= 0 })}, nil
	}
	t := token{word, p.while(func(c byte) bool { return strings.IndexByte(blanks+signs+`'"`, c) < 0 })}
	if bad := strings.IndexAny(t.text, "(),;"); bad >= 0 {
		return t, p.fail("it has %q, which must be in quotes", t.text[bad:bad+1])
	}
	return t, nil
}

func (p *parser) while(belongs func(byte) bool) string {
	start := p.at
	for p.at < len(p.text) && belongs(p.text[p.at]) {
		p.at++
	}
	return p.text[start:p.at]
}

// quoted reads a text in quotes; a quote in it is written twice.
func (p *parser) quoted(quote byte) (string, error) {
	start := p.at
	var b strings.Builder
	for p.at++; p.at < len(p.text); p.at++ {
		if p.text[p.at] != quote {
			b.WriteByte(p.text[p.at])
			continue
		}
		if p.at++; p.at == len(p.text) || p.text[p.at] != quote {
			return b.String(), nil
		}
		b.WriteByte(quote)
	}
	return "", p.fail("the quote %s is not closed", p.text[start:])
}

func (p *parser) condition() (c condition, err error) {
	if c.column, err = p.column(); err != nil {
		return c, err
	}
	op, err := p.next()
	switch {
	case err != nil:
		return c, err
	case op.is("is"):
		c.operator, err = p.null()
		return c, err
	case op.kind != sign:
		return c, p.fail("after the column %s comes one of =, !=, <, <=, >, >= or is null", c.name())
	}
	c.operator = operator(op.text)
	switch c.operator {
	case equal, notEqual, less, lessOrEqual, greater, greaterOrEqual:
	case "==":
		return c, p.fail(`the comparison is written "=", not "=="`)
	case "<>":
		return c, p.fail(`the comparison is written "!=", not "<>"`)
	default:
		return c, p.fail("there is no comparison %q", op.text)
	}
	value, err := p.next()
	switch {
	case err != nil:
		return c, err
	case value.kind != word && value.kind != quoted, value.is("and"):
		return c, p.fail("there is no value after %s %s", c.name(), c.operator)
	case value.is("null"):
		return c, p.fail("no value is equal to null; write %s is null, or is not null", c.name())
	}
	c.value = value.text
	return c, nil
}

// column reads the names of a column, with dots between them. A name in quotes may have
// dots of its own.
func (p *parser) column() (names []string, err error) {
	for {
		t, err := p.next()
		switch {
		case err != nil:
			return nil, err
		case t.kind == endOfText && names == nil:
			return nil, p.fail("it ends where a column should be named")
		case t.kind == endOfText, t.kind == sign, t.text == "", t.is("and"):
			return nil, p.fail("it names no column before %q", p.text[p.at:])
		}
		open := false // a dot is the last that was read
		if t.kind == quoted {
			names = append(names, t.text)
		} else {
			parts := strings.Split(t.text, ".")
			open = parts[len(parts)-1] == "" && p.at < len(p.text) && (p.text[p.at] == '\'' || p.text[p.at] == '"')
			if open {
				parts = parts[:len(parts)-1]
			}
			for _, part := range parts {
				if part == "" {
					return nil, p.fail("the name %q has a dot too many; quote names with dots of their own", t.text)
				}
			}
			names = append(names, parts...)
		}
		if t.kind == quoted && p.at < len(p.text) && p.text[p.at] == '.' {
			p.at++
			open = true
		}
		if !open {
			return names, nil
		}
	}
}

// null reads what follows "is".
func (p *parser) null() (operator, error) {
	t, err := p.next()
	op := isNull
	if err == nil && t.is("not") {
		op = isNotNull
		t, err = p.next()
	}
	if err == nil && !t.is("null") {
		err = p.fail(`"is" is followed by null or by not null`)
	}
	return op, err
}
