package main

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal/terminaltest"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// What people see of a table at a terminal of some width.
func TestPreviewAtATerminal(t *testing.T) {
	config := protocoltest.File(t, fmt.Sprintf(`{"warehouse":"file://%s"}`, t.TempDir()))
	catalog := protocoltest.File(t, `{"streams":[{"stream":{"name":"items","json_schema":{"properties":{"id":{"type":"integer"},"name":{"type":"string"},"price":{"type":"number"},
		"o":{"type":"object","properties":{"a":{"type":"string"},"in":{"type":"object","properties":{"n":{"type":"number"}}}}},"tags":{"type":"array","items":{"type":"string"}}}}},
		"sync_mode":"incremental","destination_sync_mode":"append"}]}`)
	input := `{"type":"RECORD","record":{"stream":"items","emitted_at":1,"data":{"id":1,"name":"山田さん","price":2.5,"o":{"a":"x","in":{"n":1}},"tags":["a long list that does not fit","of texts"]}}}
{"type":"RECORD","record":{"stream":"items","emitted_at":2,"data":{"id":20000,"name":"null","price":null,"tags":[]}}}
{"type":"RECORD","record":{"stream":"items","emitted_at":3,"data":{"id":null,"name":"\u001b[2Jgone","price":-10,"o":{"a":""}}}}
{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"items"},"stream_state":{}}}}
`
	var stderr bytes.Buffer
	if code := unsignalled().run(t.Context(), cli.Env{Args: []string{"write", "--config", config, "--catalog", catalog}, Stdin: strings.NewReader(input), Stdout: &bytes.Buffer{}, Stderr: &stderr}); code != 0 {
		t.Fatal(&stderr)
	}
	for name, tt := range map[string]struct {
		width int
		env   map[string]string
		args  string
		want  string
	}{
		"rows that fit are a table": {
			60,
			map[string]string{"NO_COLOR": "1"},
			"--columns id,name,price,o.in.n",
			"   id  name           price  o.in.n\n" +
				"    1  山田さん         2.5       1\n" +
				"20000  \"null\"          null    null\n" +
				" null  \"\\x1b[2Jgone\"    -10    null\n",
		},
		"what is long is cut": {
			44,
			map[string]string{"NO_COLOR": "1"},
			"--columns id,tags,price --where id<20000",
			"id  tags                               price\n" +
				" 1  [\"a long list that does not fit\"…    2.5\n",
		},
		"rows that do not fit are lists": {
			40,
			map[string]string{"NO_COLOR": "1"},
			"--columns id,name,o,tags --last 2",
			"-- row 1\nid    null\nname  \"\\x1b[2Jgone\"\no.a   \"\"\no.in  null\ntags  null\n" +
				"-- row 2\nid    20000\nname  \"null\"\no     null\ntags  []\n",
		},
		"a terminal that does not say how wide it is": {
			0,
			map[string]string{"NO_COLOR": "1"},
			"--columns id,o,name --limit 1",
			"id  o                       name\n 1  {\"a\":\"x\",\"in\":{\"n\":1}}  山田さん\n",
		},
		"with colours": {
			60, nil, "--columns id,name --last 2",
			"   \x1b[1mid\x1b[0m  \x1b[1mname\x1b[0m\n \x1b[2mnull\x1b[0m  \"\\x1b[2Jgone\"\n20000  \"null\"\n",
		},
		"values with commas, without what moves the cursor": {60, nil, "--columns name --last 1 --csv", "name\r\n\"\"\"\\x1b[2Jgone\"\"\"\r\n"},
		"no row": {60, nil, "--where id=7", "airbyte.items has no such rows.\n"},
	} {
		tty, output := terminaltest.Open(t, tt.width)
		code := run(t.Context(), cli.Env{
			Args: append([]string{"preview", "items", "--config", config}, strings.Fields(tt.args)...), Stdout: tty, Stderr: &stderr, Getenv: func(name string) string { return tt.env[name] },
		})
		if diff := cmp.Diff(tt.want, output()); diff != "" || code != 0 {
			t.Errorf("%s: exit code %d, %s\n%s", name, code, &stderr, diff)
		}
	}
}
