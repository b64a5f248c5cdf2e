package main

import (
	"encoding/json"
	"os"
	"strings"

	iceio "github.com/apache/iceberg-go/io"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// relocates moves a warehouse to another place of its storage. Upserts before and after it, and the state, are there.
func (l *lakeUnderTest) relocates() {
	stream := l.stream(protocol.AppendDedup, 0, 0, "")
	long := strings.Repeat("x", 2000) // has a file of its own
	l.configured(func(config map[string]any) { config["upsert"] = "merge_on_read" })
	l.write(stream, records(`{"id":1,"v":"a"}`, `{"id":2,"v":"a"}`)+stateOf(1)+fedComplete)
	l.write(stream, records(`{"id":1,"v":"b"}`)+strings.Replace(stateOf(2), `"n":2`, `"n":"`+long+`"`, 1)+fedComplete)
	var from, to string
	l.configured(func(config map[string]any) {
		from = config["warehouse"].(string)
		to = from + "-moved"
		config["warehouse"] = to
	})
	if text, err := os.ReadFile(l.config); err != nil || strings.Contains(string(text), `"rest"`) {
		if out, code := l.do("", "relocate", "--from", from); code == 0 || !strings.Contains(out, "A REST catalog does not let its clients say") {
			l.t.Errorf("exit code %d (%v): %s", code, err, out)
		}
		return
	}
	l.moveFiles(from, to)
	if out := l.succeeds("", "relocate", "--from", from); !strings.Contains(out, ".items: was relocated from ") {
		l.t.Errorf("relocate says %q", out)
	}
	l.expectRows(`{"id":1,"v":"b"}`, `{"id":2,"v":"a"}`)
	l.expectState(stream, `"stream_state":{"n":"`+long+`"}`)
	l.write(stream, records(`{"id":1,"v":"c"}`, `{"id":3,"v":"a"}`)+stateOf(3)+fedComplete)
	l.expectRows(`{"id":1,"v":"c"}`, `{"id":2,"v":"a"}`, `{"id":3,"v":"a"}`)
	if out := l.succeeds("", "maintain"); strings.Contains(out, "failed") {
		l.t.Error(out)
	}
	l.expectRows(`{"id":1,"v":"c"}`, `{"id":2,"v":"a"}`, `{"id":3,"v":"a"}`)
}

// configured changes the configuration.
func (l *lakeUnderTest) configured(change func(config map[string]any)) {
	l.t.Helper()
	text, err := os.ReadFile(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	config := map[string]any{}
	if err := json.Unmarshal(text, &config); err != nil {
		l.t.Fatal(err)
	}
	change(config)
	if text, err = json.Marshal(config); err != nil {
		l.t.Fatal(err)
	}
	if err := os.WriteFile(l.config, text, 0o600); err != nil {
		l.t.Fatal(err)
	}
}

// moveFiles moves all files of a warehouse to another place of its storage.
func (l *lakeUnderTest) moveFiles(from, to string) {
	l.t.Helper()
	before, isLocal := strings.CutPrefix(from, "file://")
	if isLocal {
		if err := os.Rename(before, strings.TrimPrefix(to, "file://")); err != nil {
			l.t.Fatal(err)
		}
		return
	}
	text, err := os.ReadFile(l.config)
	if err != nil {
		l.t.Fatal(err)
	}
	config, err := parseConfig(text)
	if err != nil {
		l.t.Fatal(err)
	}
	store, err := storage.Open(l.t.Context(), config.Storage, to, "")
	if err != nil {
		l.t.Fatal(err)
	}
	files := store.Files()
	found, err := storage.List(l.t.Context(), files.(iceio.ListableIO), from)
	if err != nil {
		l.t.Fatal(err)
	}
	for _, f := range found {
		content, err := storage.ReadFile(files, f.Path)
		if err == nil {
			err = files.WriteFile(to+strings.TrimPrefix(f.Path, from), content)
		}
		if err != nil {
			l.t.Fatal(err)
		}
	}
	if err := storage.RemoveTree(files, from); err != nil {
		l.t.Fatal(err)
	}
}
