package main

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// What people read on standard error of a write, with the times as 0.0s and the sizes
// as 1.0 KiB. Programs read of each stream by itself.
func TestWhatPeopleReadOfAWrite(t *testing.T) {
	const (
		complete = `{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":%q},"status":"COMPLETE"}}}` + "\n"
		failure  = `{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1,"error":{"message":"The token is void. Ask for another.","failure_type":"config_error"%s}}}` + "\n"
		record   = `{"type":"RECORD","record":{"stream":"a","emitted_at":1,"data":{"id":1}}}` + "\n"
		state    = `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"a"},"stream_state":{}}}}` + "\n"
	)
	all := fmt.Sprintf(complete+complete+complete, "a", "b", "c")
	for name, tt := range map[string]struct {
		input  string
		args   []string
		want   string
		errors int // on standard output
	}{
		"nothing of a sync that succeeds": {input: record + state + all},
		"how it goes, if they want to": {
			input: record + record + state + all, args: []string{"--progress"},
			want: "destination: namespace.a: committed 2 records in 1 file, 1.0 KiB\n" +
				"destination: done in 0.0s: 2 records, 3 of 3 streams, 2 committed, 1 commit, 1 file\n",
		},
		"that a source without statuses is complete": {
			input: record + state + strings.ReplaceAll(state, `"a"`, `"c"`), args: []string{"--progress"},
			want: "destination: namespace.a: committed 1 record in 1 file, 1.0 KiB\n" +
				"warning: the input has no statuses: the STATE at the stream's end is taken as proof that it is complete (stream=c)\n" +
				"destination: done in 0.0s: 1 record, 3 of 3 streams, 1 committed, 1 commit, 1 file\n",
		},
		"that an input that breaks off has no complete stream": {
			input: record + state + `{"type":"RECORD","rec`, args: []string{"--progress"}, errors: 1,
			want: "destination: namespace.a: committed 1 record in 1 file, 1.0 KiB\n" +
				"error: Line 3 of the input is a broken message: it ends in the middle. The source was cut off, or two writers wrote into each other. Run the sync again: it continues from the last acknowledged state.\n" +
				"destination: failed after 0.0s: 1 record, 0 of 3 streams, 1 committed, 1 commit, 1 file\n",
		},
		"why the source failed, once": {
			input: record + state + fmt.Sprintf(failure, ""), errors: 3,
			want: "source: The token is void. Ask for another.\n" +
				"error: 2 streams were not received completely: the source failed. What their states cover is kept. Run the sync again when the cause is gone. They are a, b.\n" +
				"error: Stream c was not received completely: the source failed. Its table is as it was before. Run the sync again when the cause is gone.\n",
		},
		"why a stream failed": {
			input: fmt.Sprintf(complete+complete, "a", "c") + fmt.Sprintf(failure, `,"stream_descriptor":{"name":"b"}`), errors: 1,
			want: "source: The token is void. Ask for another.\n" +
				"error: Stream b was not received completely: the source failed. What its states cover is kept. Run the sync again when the cause is gone.\n",
		},
		"that the source died": {
			input: fmt.Sprintf(complete, "c"), errors: 2,
			want: "error: 2 streams were not received completely: the input ended without the stream's COMPLETE status. What their states cover is kept. Run the sync again to get the rest. They are a, b.\n",
		},
	} {
		t.Run(name, func(t *testing.T) {
			config := protocoltest.File(t, fmt.Sprintf(`{"warehouse":"file://%s","namespace":"namespace"}`, t.TempDir()))
			var streams []string
			for i, mode := range []protocol.DestinationSyncMode{protocol.Append, protocol.Append, protocol.Overwrite} {
				streams = append(streams, fmt.Sprintf(`{"stream":{"name":%q,"json_schema":{"properties":{"id":{"type":"integer"}}}},"sync_mode":"incremental","destination_sync_mode":%q}`, "abc"[i:i+1], mode))
			}
			catalog := protocoltest.File(t, `{"streams":[`+strings.Join(streams, ",")+`]}`)
			var stdout, stderr bytes.Buffer
			code := unsignalled().run(t.Context(), cli.Env{
				Args:  append([]string{"write", "--config", config, "--catalog", catalog}, tt.args...),
				Stdin: strings.NewReader(tt.input), Stdout: &stdout, Stderr: &stderr,
			})
			if (code != 0) != (tt.errors > 0) || strings.Count(stdout.String(), `"type":"ERROR"`) != tt.errors {
				t.Errorf("exit code %d, want %d errors: %s", code, tt.errors, &stdout)
			}
			if n := strings.Count(stdout.String(), "was not received completely: the source failed: The token is void. Ask for another. "); strings.Contains(tt.input, "void") && n != tt.errors {
				t.Errorf("%d errors give the reason: %s", n, &stdout)
			}
			got := stderr.String()
			for pattern, with := range map[string]string{`\d+\.\ds`: "0.0s", `\d+\.\d KiB`: "1.0 KiB"} {
				got = regexp.MustCompile(pattern).ReplaceAllString(got, with)
			}
			if diff := cmp.Diff(tt.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}
