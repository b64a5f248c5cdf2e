package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/internal/terminal/terminaltest"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// The list of tables fits a terminal of 80 columns; one that is too narrow gets a list
// for each table.
func TestTablesAtATerminal(t *testing.T) {
	config := protocoltest.File(t, fmt.Sprintf(`{"warehouse":"file://%s","namespace":"whoop"}`, t.TempDir()))
	catalog := protocoltest.File(t, `{"streams":[
		{"stream":{"name":"sleep","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"},
		{"stream":{"name":"a_stream_whose_name_is_much_longer_than_those_of_others","json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":"append"}]}`)
	input := strings.Repeat(`{"type":"RECORD","record":{"stream":"sleep","emitted_at":1,"data":{"id":1}}}`+"\n", 1200) +
		`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"sleep"},"stream_state":{}}}}` + "\n"
	var stderr bytes.Buffer
	if code := unsignalled().run(t.Context(), cli.Env{Args: []string{"write", "--config", config, "--catalog", catalog}, Stdin: strings.NewReader(input), Stdout: &bytes.Buffer{}, Stderr: &stderr}); code != 0 {
		t.Fatal(&stderr)
	}
	for width, want := range map[int]string{
		80: "table                                     rows  files     size  committed (UTC)\n" +
			"whoop.a_stream_whose_name_is_much_long…      0      0      0 B  never\n" +
			"whoop.sleep                              1,200      1  9.9 KiB  2000-01-01 00:00\n",
		40: "-- whoop.a_stream_whose_name_is_much_longer_than_those_of_others\n" +
			"rows             0\nfiles            0\nsize             0 B\ncommitted (UTC)  never\n" +
			"-- whoop.sleep\nrows             1,200\nfiles            1\nsize             9.9 KiB\ncommitted (UTC)  2000-01-01 00:00\n",
	} {
		tty, output := terminaltest.Open(t, width)
		code := run(t.Context(), cli.Env{Args: []string{"tables", "--config", config}, Stdout: tty, Stderr: &stderr, Getenv: func(string) string { return "1" }})
		got := output()
		for pattern, with := range map[string]string{`\d{4}-\d\d-\d\d \d\d:\d\d`: "2000-01-01 00:00", `\d\.\d KiB`: "9.9 KiB"} {
			got = regexp.MustCompile(pattern).ReplaceAllString(got, with)
		}
		if diff := cmp.Diff(want, got); diff != "" || code != 0 {
			t.Errorf("%d columns: exit code %d, %s\n%s", width, code, &stderr, diff)
		}
	}
}
