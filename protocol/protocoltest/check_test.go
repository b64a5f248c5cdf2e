package protocoltest

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
)

func lines(s ...string) []byte { return []byte(strings.Join(s, "\n") + "\n") }

func status(s string) string {
	return `{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1.5,"stream_status":{"stream_descriptor":{"name":"s","namespace":null},"status":"` + s + `"}}}`
}

const (
	rec     = `{"type":"RECORD","record":{"stream":"s","emitted_at":1,"data":{"a":1}}}`
	limited = `{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":1,"stream_status":{"stream_descriptor":{"name":"s"},"status":"RUNNING","reasons":[{"type":"RATE_LIMITED"}]}}}`
	failure = `{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1,"error":{"message":"m","failure_type":"config_error"}}}`
	hello   = `{"type":"LOG","log":{"level":"INFO","message":"hello"}}`
	good    = `{"type":"CONNECTION_STATUS","connectionStatus":{"status":"SUCCEEDED"}}`
	control = `{"type":"CONTROL","control":{"type":"CONNECTOR_CONFIG","emitted_at":1,"connectorConfig":{"config":{"p":"pa\"ss"}}}}`
)

func state(members string) string {
	return `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{}}` + members + `}}`
}

func other(members string) string {
	return strings.Replace(state(members), `"name":"s"`, `"name":"other"`, 1)
}

func counted(n string) string { return state(`,"sourceStats":{"recordCount":` + n + `}`) }

func written(n string) string { return state(`,"destinationStats":{"recordCount":` + n + `}`) }

// Each run breaks the rules named and no other.
func TestCheckFindsWhatIsWrong(t *testing.T) {
	started, running, complete, incomplete := status("STARTED"), status("RUNNING"), status("COMPLETE"), status("INCOMPLETE")
	tests := []struct {
		name string
		run  Run
		want []string // parts of the problems
	}{
		{name: "a good read", run: Run{Args: []string{"read"}, Stdout: lines(hello, started, running, rec, limited, rec, counted("2.0"), rec, counted("1.0"), control, complete)}},
		{name: "a good failure of a stream that never began", run: Run{Args: []string{"read"}, Code: 1, Stdout: lines(failure, incomplete)}},
		{name: "a good check", run: Run{Args: []string{"check"}, Stdout: lines(good)}},
		{name: "a crashed check", run: Run{Args: []string{"check"}, Code: 1, Stdout: lines(failure)}},
		{name: "killed in the middle of a line", run: Run{Args: []string{"read"}, Code: -1, Stdout: []byte(started + "\n" + running + "\n" + rec[:20])}},
		{name: "a good write", run: Run{
			Args: []string{"write"}, Input: lines(rec, rec, state(`,"id": 1`), rec, state("")),
			Stdout: lines(state(`,"id":1,"destinationStats":{"recordCount":1.0,"rejectedRecordCount":1.0}`), written("1.0")),
		}},
		{
			name: "lines that are no messages",
			run:  Run{Args: []string{"spec"}, Code: -1, Stdout: lines("hello", "", "{}", `{"type":"RECORD","record":{"stream":"s","emitted_at":1.5,"data":{}}}`, `{"type":"LOG","log":{"level":"LOUD","message":""}}`, `{"type":"SPEC"}`)},
			want: []string{"line 1: invalid character 'h' looking for beginning of value: \"hello\\n\"\nline 2: unexpected end of JSON input: \"\\n\"\nline 3: no message of the protocol has type \"\": \"{}\\n\"\nline 4: record.emitted_at is number, not integer"},
		},
		{name: "a last line without end", run: Run{Args: []string{"check"}, Stdout: []byte(good)}, want: []string{"line 1: it has no end", "exit code 0 with 0 messages of type CONNECTION_STATUS"}},
		{name: "two answers", run: Run{Args: []string{"check"}, Stdout: lines(good, good)}, want: []string{"exit code 0 with 2 messages"}},
		{name: "an answer and a crash", run: Run{Args: []string{"check"}, Code: 1, Stdout: lines(good, failure)}, want: []string{"exit code 1 with 1 messages"}},
		{name: "FAILED without reason", run: Run{Args: []string{"check"}, Stdout: lines(`{"type":"CONNECTION_STATUS","connectionStatus":{"status":"FAILED"}}`)}, want: []string{"FAILED without a message"}},
		{name: "what a verb does not say", run: Run{Args: []string{"check"}, Stdout: lines(good, counted("0.0"))}, want: []string{"check sends no STATE"}},
		{name: "an exit code without reason", run: Run{Args: []string{"read"}, Code: 1}, want: []string{"exit code 1 with 0 TRACE errors"}},
		{name: "an error and success", run: Run{Args: []string{"read"}, Stdout: lines(failure)}, want: []string{"exit code 0 with 1 TRACE errors"}},
		{name: "a record before RUNNING", run: Run{Args: []string{"read"}, Code: -1, Stdout: lines(rec, started, rec)}, want: []string{`whose status is ""`, `whose status is "STARTED"`}},
		{name: "a wrong count", run: Run{Args: []string{"read"}, Code: -1, Stdout: lines(started, running, rec, counted("2.0"))}, want: []string{`count "2.0" records, 1.0 were sent`}},
		{name: "a count without decimal point", run: Run{Args: []string{"read"}, Code: -1, Stdout: lines(counted("0"))}, want: []string{`count "0" records, 0.0 were`}},
		{name: "no count", run: Run{Args: []string{"read"}, Code: -1, Stdout: lines(state(""))}, want: []string{`count "" records, 0.0 were`}},
		{name: "states of two types", run: Run{Args: []string{"read"}, Code: -1, Stdout: lines(counted("0.0"), `{"type":"STATE","state":{"data":{},"sourceStats":{"recordCount":0.0}}}`)}, want: []string{"several types"}},
		{name: "COMPLETE without state", run: Run{Args: []string{"read"}, Stdout: lines(started, running, complete)}, want: []string{"COMPLETE without a state"}},
		{name: "COMPLETE with records no state covers", run: Run{Args: []string{"read"}, Stdout: lines(started, running, counted("0.0"), rec, complete)}, want: []string{"COMPLETE with 1 records"}},
		{
			name: "something after COMPLETE",
			run:  Run{Args: []string{"read"}, Code: 1, Stdout: lines(started, running, counted("0.0"), complete, rec, counted("1.0"), failure, incomplete)},
			want: []string{`a record of stream s, whose status is "COMPLETE"`, "a state of stream s, which is COMPLETE", `from "COMPLETE" to INCOMPLETE`},
		},
		{name: "RUNNING twice", run: Run{Args: []string{"read"}, Code: -1, Stdout: lines(started, running, running)}, want: []string{`from "RUNNING" to RUNNING`}},
		{name: "no RUNNING", run: Run{Args: []string{"read"}, Stdout: lines(started, counted("0.0"), complete)}, want: []string{`from "STARTED" to COMPLETE`}},
		{name: "a stream left open", run: Run{Args: []string{"read"}, Code: 1, Stdout: lines(started, failure)}, want: []string{"stream s ends as STARTED"}},
		{
			name: "a secret in a log and on stderr", run: Run{
				Args: []string{"check"}, Secrets: []string{`pa"ss`}, Stderr: []byte(`pa"ss`),
				Stdout: lines(`{"type":"LOG","log":{"level":"INFO","message":"it is pa\"ss"}}`, control, good),
			},
			want: []string{"line 1: a secret", "stderr: a secret"},
		},
		{name: "a state not given", run: Run{Args: []string{"write"}, Stdout: lines(written("0.0"))}, want: []string{"not given"}},
		{name: "a state not repeated", run: Run{Args: []string{"write"}, Input: lines(state(""))}, want: []string{"1 states not repeated"}},
		{name: "a state not repeated by a failed run", run: Run{Args: []string{"write"}, Code: 1, Input: lines(state("")), Stdout: lines(failure)}},
		{name: "a state changed", run: Run{Args: []string{"write"}, Input: lines(state(`,"id":1`)), Stdout: lines(written("0.0"))}, want: []string{"repeated as"}},
		{name: "states in another order", run: Run{Args: []string{"write"}, Code: -1, Input: lines(state(`,"id":1`), state("")), Stdout: lines(written("0.0"))}, want: []string{"repeated as"}},
		{name: "states of two streams in another order", run: Run{Args: []string{"write"}, Input: lines(state(""), other("")), Stdout: lines(other(`,"destinationStats":{"recordCount":0.0}`), written("0.0"))}},
		{name: "a record not accounted for", run: Run{Args: []string{"write"}, Input: lines(rec, rec, state("")), Stdout: lines(written("1.0"))}, want: []string{"1 written and 0 rejected of 2 records"}},
		{name: "a state repeated without counts", run: Run{Args: []string{"write"}, Input: lines(state("")), Stdout: lines(state(""))}, want: []string{"destinationStats without recordCount"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			contains := cmp.Comparer(func(a, b string) bool { return strings.Contains(a, b) || strings.Contains(b, a) })
			if diff := cmp.Diff(tt.want, tt.run.problems(), contains, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("problems (-want +got):\n%s", diff)
			}
		})
	}
}

func TestSuccessMeansEveryConfiguredStreamIsComplete(t *testing.T) {
	catalog := File(t, `{"streams":[{"stream":{"name":"s"}}]}`)
	for _, args := range [][]string{{"read", "--catalog", catalog}, {"read", "-catalog=" + catalog}} {
		run := Run{Args: args}
		if diff := cmp.Diff([]string{`exit code 0 with stream s ""`}, run.problems()); diff != "" {
			t.Errorf("problems (-want +got):\n%s", diff)
		}
	}
}

func TestSecretsStandWhereTheSchemaSaysSo(t *testing.T) {
	schema := `{"properties":{"a":{"type":"string"},"b":{"airbyte_secret":true},"c":{"oneOf":[{"properties":{"d":{"airbyte_secret":true}}}]},"e":{"items":{"airbyte_secret":true}}}}`
	got := Secrets([]byte(schema), []byte(`{"a":"open","c":{"d":"hidden1","x":"open"},"e":["hidden2"],"b":"hidden3"}`))
	if diff := cmp.Diff([]string{"hidden1", "hidden2", "hidden3"}, got, cmpopts.SortSlices(strings.Compare)); diff != "" {
		t.Errorf("secrets (-want +got):\n%s", diff)
	}
}

func TestWhatRunsSayIsTranscribed(t *testing.T) {
	path := filepath.Join(t.TempDir(), "transcript.jsonl")
	t.Setenv(TranscriptVariable, path)
	for _, run := range []Run{
		{Args: []string{"check"}, Stdout: lines(good)},
		{Args: []string{"read"}, Code: -1, Stdout: append(lines(status("STARTED"), status("RUNNING")), rec[:20]...)},
	} {
		run.Check(t)
	}
	text, err := os.ReadFile(path)
	if diff := cmp.Diff(string(lines(good, status("STARTED"), status("RUNNING"))), string(text)); diff != "" || err != nil {
		t.Errorf("transcript (-want +got), %v:\n%s", err, diff)
	}
}
