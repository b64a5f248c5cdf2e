package main

import (
	"cmp"
	"regexp"
	"strings"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// changesByHand runs each verb that changes a table, and writes on afterwards. A catalog without branches may keep one
// snapshot alone, and forbid to remove files, as Nessie does.
func (l *lakeUnderTest) changesByHand() {
	branches := l.keepsBranches()
	stream := l.stream(protocol.AppendDedup, 0, 0, "")
	l.write(stream, records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete)
	l.write(stream, records(`{"id":2,"v":"a"}`)+stateOf(2)+fedComplete)

	if branches {
		first := regexp.MustCompile(`(?m)^(\d+) .* 1$`).FindStringSubmatch(l.succeeds("", "rollback", l.named("items")))
		if first == nil {
			l.t.Fatal("rollback does not list the first snapshot")
		}
		l.succeeds("", "rollback", l.named("items"), "--to", first[1])
		l.expectRows(`{"id":1,"v":"a"}`)
		l.expectState(stream, `"stream_state":{"n":1}`)
	}
	l.write(stream, records(`{"id":2,"v":"b"}`, `{"id":3,"v":"a"}`)+stateOf(3)+fedComplete)

	l.succeeds("", "forget", l.named("items"), "--where", "id = 3")
	l.expectRows(`{"id":1,"v":"a"}`, `{"id":2,"v":"b"}`)
	if out, code := l.do("", "forget", l.named("items"), "--where", "id = 2", "--now"); code != 0 && (branches || !strings.Contains(out, "gc.enabled")) {
		l.t.Errorf("forget --now: exit code %d: %s", code, out)
	}
	l.expectRows(`{"id":1,"v":"a"}`)
	l.expectState(stream, `"stream_state":{"n":3}`)

	l.succeeds("", "rename", l.named("items"), "things")
	l.configured(func(config map[string]any) {
		config["streams"] = []any{map[string]any{"name": "items", "table": "things"}}
	})
	l.write(stream, records(`{"id":4,"v":"a"}`)+stateOf(4)+fedComplete)
	l.expectRows(`{"id":1,"v":"a"}`, `{"id":4,"v":"a"}`)

	l.succeeds("", "reset", l.named("things"))
	l.expectRows()
	l.expectState(stream, `[]`)
	l.write(stream, records(`{"id":5,"v":"a"}`)+stateOf(5)+fedComplete)
	l.expectRows(`{"id":5,"v":"a"}`)

	if out := l.succeeds("", "drop", l.named("things")); !strings.Contains(out, "dropped, with ") && (branches || !strings.Contains(out, "gc.enabled")) {
		l.t.Errorf("drop says %q", out)
	}
	if out := l.succeeds("", "tables", "--json"); strings.Contains(out, l.named("things")) {
		l.t.Errorf("after drop: %s", out)
	}
	l.write(stream, records(`{"id":6,"v":"a"}`)+stateOf(6)+fedComplete)
	l.expectRows(`{"id":6,"v":"a"}`)
}

// named is the whole name of a table. Other lakes of the catalog may have tables of that name.
func (l *lakeUnderTest) named(table string) string { return l.namespace() + "." + table }

// namespace is that of the tables of streams without one.
func (l *lakeUnderTest) namespace() (name string) {
	l.configured(func(config map[string]any) { name, _ = config["namespace"].(string) })
	return cmp.Or(name, "airbyte")
}
