package snowflaketest

import (
	"fmt"
	"regexp"
	"strings"
	"unicode"
)

// A refused statement has Snowflake's code and state.
type refused struct{ code, state, message string }

func (r *refused) Error() string { return r.code + " (" + r.state + "): " + r.message }

func syntaxError(format string, args ...any) *refused {
	return &refused{"001003", "42000", "SQL compilation error: " + fmt.Sprintf(format, args...)}
}

// A token of a statement. A word is upper-case.
type token struct {
	kind byte // 'w' word, 'i' quoted identifier, 's' string, else the character itself
	text string
}

func (t token) String() string { return fmt.Sprintf("%c %q", t.kind, t.text) }

// tokens cuts a statement.
func tokens(statement string) ([]token, *refused) {
	var all []token
	text := []rune(strings.TrimSpace(statement))
	for i := 0; i < len(text); {
		r := text[i]
		switch {
		case unicode.IsSpace(r):
			i++
		case r == '\'', r == '"':
			value, length, ok := quoted(text[i:])
			if !ok {
				return nil, syntaxError("the text at %d does not end", i)
			}
			kind := byte('s')
			if r == '"' {
				kind = 'i'
			}
			all = append(all, token{kind, value})
			i += length
		case r == '_' || unicode.IsLetter(r) || unicode.IsDigit(r):
			start := i
			for i < len(text) && (text[i] == '_' || text[i] == '$' || unicode.IsLetter(text[i]) || unicode.IsDigit(text[i])) {
				i++
			}
			all = append(all, token{'w', strings.ToUpper(string(text[start:i]))})
		case strings.ContainsRune("().,=", r):
			all = append(all, token{byte(r), string(r)})
			i++
		default:
			return nil, syntaxError("unexpected %q at %d", r, i)
		}
	}
	return all, nil
}

// quoted reads what is in quotes. In a string a backslash escapes, too.
func quoted(text []rune) (value string, length int, ok bool) {
	quote := text[0]
	var b strings.Builder
	for i := 1; i < len(text); i++ {
		switch {
		case text[i] == '\\' && quote == '\'':
			i++
			if i == len(text) {
				return "", 0, false
			}
			escaped, known := map[rune]rune{'n': '\n', 't': '\t', 'r': '\r', '0': 0, 'b': '\b', 'f': '\f'}[text[i]]
			if !known {
				escaped = text[i]
			}
			b.WriteRune(escaped)
		case text[i] != quote:
			b.WriteRune(text[i])
		case i+1 < len(text) && text[i+1] == quote:
			b.WriteRune(quote)
			i++
		default:
			return b.String(), i + 1, true
		}
	}
	return "", 0, false
}

// A parser reads the tokens of one statement. It panics with a *refused.
type parser struct {
	statement string
	rest      []token
}

func (p *parser) fail(wanted string) {
	next := "the end"
	if len(p.rest) > 0 {
		next = p.rest[0].String()
	}
	panic(syntaxError("there is %s instead of %s in: %s", next, wanted, p.statement))
}

func (p *parser) next(kind byte, wanted string) string {
	if len(p.rest) == 0 || p.rest[0].kind != kind {
		p.fail(wanted)
	}
	text := p.rest[0].text
	p.rest = p.rest[1:]
	return text
}

// is reads words if they come next.
func (p *parser) is(words string) bool {
	wanted := strings.Fields(words)
	if len(p.rest) < len(wanted) {
		return false
	}
	for i, w := range wanted {
		if p.rest[i].kind != 'w' || p.rest[i].text != w {
			return false
		}
	}
	p.rest = p.rest[len(wanted):]
	return true
}

func (p *parser) words(words string) {
	if !p.is(words) {
		p.fail(words)
	}
}

// one reads one of several series of words.
func (p *parser) one(of ...string) string {
	for _, words := range of {
		if p.is(words) {
			return words
		}
	}
	p.fail(strings.Join(of, " or "))
	return ""
}

func (p *parser) literal() string { return p.next('s', "a string") }

func (p *parser) end() {
	if len(p.rest) > 0 {
		p.fail("the end")
	}
}

// identifier reads one, which Snowflake stores in upper case if it has no quotes.
func (p *parser) identifier() string {
	if len(p.rest) > 0 && p.rest[0].kind == 'i' {
		return p.next('i', "")
	}
	return p.next('w', "an identifier")
}

// name reads identifiers with dots between them.
func (p *parser) name(parts int) string {
	name := []string{p.identifier()}
	for len(name) < parts {
		p.next('.', "a dot")
		name = append(name, p.identifier())
	}
	return strings.Join(name, "\x00")
}

// options reads what is set, as in A = 'x' B = FALSE C = (…): by name.
func (p *parser) options() map[string]string {
	set := map[string]string{}
	for len(p.rest) > 0 {
		key := p.next('w', "an option")
		p.next('=', "=")
		if _, twice := set[key]; twice {
			panic(syntaxError("%s is set twice", key))
		}
		if p.rest[0].kind != '(' {
			if p.rest[0].kind == 's' {
				set[key] = p.literal()
			} else {
				set[key] = p.next('w', "a value")
			}
			continue
		}
		set[key] = ""
		for depth := 0; ; {
			t := p.rest[0]
			p.rest = p.rest[1:]
			depth += map[byte]int{'(': 1, ')': -1}[t.kind]
			if depth == 0 {
				break
			}
			if len(p.rest) == 0 {
				p.fail(")")
			}
			if t.kind == 'w' && p.rest[0].kind == '=' && len(p.rest) > 1 && p.rest[1].kind != '(' {
				set[key+"."+t.text] = p.rest[1].text
			}
		}
	}
	return set
}

var plain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_$]*$`)

// storedName is the name that a text stands for which has an identifier in it.
func storedName(text string) string {
	if plain.MatchString(text) {
		return strings.ToUpper(text)
	}
	if value, length, ok := quoted([]rune(text + " ")); ok && text[0] == '"' && length == len([]rune(text)) {
		return value
	}
	return "(not an identifier) " + text
}

// nameIn reads a name of some parts from a text.
func nameIn(text string, parts int) string {
	all, err := tokens(text)
	if err != nil {
		panic(err)
	}
	p := &parser{statement: text, rest: all}
	name := p.name(parts)
	p.end()
	return name
}

// Tokens cuts a statement into its words, names, strings and characters.
func Tokens(statement string) ([]string, error) {
	all, err := tokens(statement)
	if err != nil {
		return nil, err
	}
	texts := make([]string, len(all))
	for i, t := range all {
		texts[i] = t.text
	}
	return texts, nil
}
