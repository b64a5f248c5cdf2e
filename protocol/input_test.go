package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

// steps reads an input to its end and writes each step as a line: records as
// "<line number> <data>", those without a step between them as one, and last the
// error that ended it.
func steps(in *Input) []string {
	var out []string
	run := false
	for {
		item, err := in.Next()
		if run && item.Records != nil {
			out[len(out)-1] += string(item.Records.Data)
			item.Records.Release()
			continue
		}
		run = item.Records != nil
		switch {
		case errors.Is(err, io.EOF):
			return out
		case err != nil:
			return append(out, "error: "+err.Error())
		case item.Records != nil:
			out = append(out, fmt.Sprintf("%d %s", item.Records.Line, item.Records.Data))
			item.Records.Release()
		case item.State != nil:
			out = append(out, fmt.Sprintf("state %s %s %s", item.State.Type, item.State.Stream, item.State.Raw))
		case item.Status != nil:
			out = append(out, fmt.Sprintf("status %s %s", item.Status.Stream, item.Status.Status))
		case item.Failure != nil && item.Failure.Stream != nil:
			out = append(out, fmt.Sprintf("failure of %s: %s", item.Failure.Stream, item.Failure.Message))
		case item.Failure != nil:
			out = append(out, "failure: "+item.Failure.Message)
		case item.Log != nil:
			out = append(out, fmt.Sprintf("log %s %s", item.Log.Level, item.Log.Message))
		}
	}
}

func quiet() *slog.Logger { return slog.New(slog.DiscardHandler) }

const (
	recordLine = `{"type":"RECORD","record":{"stream":"s","emitted_at":1,"data":{"a":1}}}`
	stateLine  = `{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"c":1}}}}`
	stateStep  = `state STREAM s {"type":"STREAM","stream":{"stream_descriptor":{"name":"s"},"stream_state":{"c":1}}}`
)

func TestInput(t *testing.T) {
	const broken = "is a broken message"
	deepRecord := strings.Replace(recordLine, `{"a":1}`, `{"a":`+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+`}`, 1)
	tests := []struct {
		name  string
		input string
		want  []string
		warns int
		err   string // part of the error that comes after want
	}{
		{name: "nothing"},
		{
			name:  "runs of records around a state",
			input: recordLine + "\n" + recordLine + "\n" + stateLine + "\n" + recordLine + "\n",
			want:  []string{"1 " + recordLine + "\n" + recordLine + "\n", stateStep, "4 " + recordLine + "\n"},
		},
		{
			name:  "a last record without line end",
			input: stateLine + "\n" + recordLine,
			want:  []string{stateStep, "2 " + recordLine + "\n"},
		},
		{
			name:  "a last state without line end",
			input: recordLine + "\n" + stateLine,
			want:  []string{"1 " + recordLine + "\n", stateStep},
		},
		{
			name:  "CRLF and byte-order mark",
			input: rawjson.ByteOrderMark + recordLine + "\r\n" + stateLine + "\r\n\r\n",
			want:  []string{"1 " + recordLine + "\r\n", stateStep},
		},
		{name: "only a byte-order mark", input: rawjson.ByteOrderMark},
		{
			name:  "spaces as Python's json.dumps writes them",
			input: `{"type": "RECORD", "record": {}}` + "\n" + ` { "type" : "RECORD" }` + "\n",
			want:  []string{"1 " + `{"type": "RECORD", "record": {}}` + "\n" + ` { "type" : "RECORD" }` + "\n"},
		},
		{
			name: "records whose type stands elsewhere, in order",
			input: recordLine + "\n" + `{"record":{"data":{"type":"STATE","x":"a\"}"},"l":[[],{}]},"namespace":null,"type":"RECORD"}` + "\r\n" +
				recordLine + "\n" + `{"type":"R\u0045CORD"}` + "\n" + recordLine + "\n",
			want: []string{"1 " + recordLine + "\n" + `{"record":{"data":{"type":"STATE","x":"a\"}"},"l":[[],{}]},"namespace":null,"type":"RECORD"}` + "\r\n" +
				recordLine + "\n" + `{"type":"R\u0045CORD"}` + "\n" + recordLine + "\n"},
		},
		{
			name:  "foreign lines",
			input: "null\n\n  \n[1]\nINFO starting\n{'a': 1}\n{\"level\":\"info\"}\n{\"type\":\"NEW\"}\n{\"type\":5}\n\"x\"\n\x00\xff\n" + recordLine + "\n",
			want:  []string{"12 " + recordLine + "\n"},
			warns: 9,
		},
		{
			name: "messages that are not for a destination",
			input: `{"type":"LOG","log":{"level":"INFO","message":"x"}}` + "\n" + `{"type":"CONTROL","control":null}` + "\n" +
				`{"type":"LOG","log":{"level":"WARN","message":"x"}}` + "\n" + `{"type":"LOG"}` + "\n" +
				`{"type":"TRACE","trace":{"type":"ESTIMATE","stream_status":null}}` + "\n",
		},
		{
			name: "statuses with explicit nulls and any emitted_at",
			input: `{"type":"TRACE","record":null,"trace":{"type":"STREAM_STATUS","emitted_at":1722000000.25,"error":null,"stream_status":{"stream_descriptor":{"name":"s","namespace":null},"status":"COMPLETE","reasons":null}}}` + "\n" +
				`{"type":"TRACE","trace":{"type":"STREAM_STATUS","emitted_at":"x","stream_status":{"stream_descriptor":{"name":"s","namespace":"n"},"status":"INCOMPLETE"}}}` + "\n",
			want: []string{"status s COMPLETE", "status n.s INCOMPLETE"},
		},
		{
			name: "failures of the source",
			input: `{"type":"TRACE","trace":{"type":"ERROR","emitted_at":1.5,"error":{"message":"page 2 was refused","stream_descriptor":{"name":"s","namespace":"n"}}}}` + "\n" +
				`{"type":"TRACE","trace":{"type":"ERROR","error":{"message":"x","stream_descriptor":null}}}` + "\n" + `{"type":"TRACE","trace":{"type":"ERROR"}}` + "\n" +
				`{"type":"LOG","log":{"level":"FATAL","message":"y"}}` + "\n" + `{"type":"LOG","log":{"level":"ERROR","message":"z"}}` + "\n",
			want: []string{"failure of n.s: page 2 was refused", "failure: x", "failure: it did not say why", "log FATAL y", "log ERROR z"},
		},
		{name: "UTF-16 with a mark", input: "\xff\xfe{\x00\"\x00t\x00\n\x00}\x00\n\x00", warns: 3, err: "encoded in UTF-16 (little-endian), not the source's messages in UTF-8. Whatever connects"},
		{name: "UTF-16 without a mark", input: "{\x00\"\x00t\x00y\x00p\x00e\x00\"\x00:\x00\n\x00", warns: 2, err: "encoded in UTF-16 (little-endian)"},
		{name: "UTF-16 of the other order", input: "\xfe\xff\x00{\x00\"\x00\n", warns: 1, err: "encoded in UTF-16 (big-endian)"},
		{name: "UTF-32", input: "\x00\x00\x00{\x00\x00\x00\"\n", warns: 1, err: "UTF-16 or UTF-32"},
		{name: "gzip", input: "\x1f\x8b\x08\x00\x00\n", warns: 1, err: "compressed with gzip"},
		{name: "text in front of a record", input: recordLine + "\nFetching {page} 2..." + recordLine + "\n", want: []string{"1 " + recordLine + "\n"}, err: "Line 2 of the input has other text in front of a RECORD message, which would be lost."},
		{name: "a byte-order mark in the middle", input: recordLine + "\n" + rawjson.ByteOrderMark + stateLine + "\n", want: []string{"1 " + recordLine + "\n"}, err: "Line 2 of the input has other text in front of a STATE message"},
		{name: "text that quotes a record", input: recordLine + "\nsent " + recordLine + " twice\n", want: []string{"1 " + recordLine + "\n"}, warns: 1},
		{name: "free text alone", input: "Traceback (most recent call last):\n  File\n", warns: 2, err: "The input holds no message of the Airbyte protocol. Run the command before the pipe by itself"},
		{name: "one message is enough", input: "starting\n" + `{"type":"LOG"}` + "\n", warns: 1},
		{
			name: "traces that cannot be read",
			input: `{"type":"TRACE"}` + "\n" + `{"type":"TRACE","trace":[]}` + "\n" + `{"type":"TRACE","trace":{"type":"STREAM_STATUS"}}` + "\n" +
				`{"type":"TRACE","trace":{"type":"STREAM_STATUS","stream_status":{"status":"COMPLETE"}}}` + "\n",
			warns: 4,
		},
		{
			name:  "a state with fields nobody knows, verbatim",
			input: `{"type":"STATE","record":null,"state": {"id":12345678901234567890,"type":null,"data":{"n":1.0},"x":[ 1 ]} }` + "\n",
			want:  []string{`state LEGACY  {"id":12345678901234567890,"type":null,"data":{"n":1.0},"x":[ 1 ]}`},
		},
		{name: "a state without state", input: `{"type":"STATE"}` + "\n", err: "Line 1 of the input is not a valid STATE message: parsing a state: it is not a JSON object"},
		{name: "a null state", input: `{"type":"STATE","state":null}` + "\n", err: "Line 1 of the input is not a valid STATE message: parsing a state: it is not a JSON object"},
		{
			name:  "a state cut short in the middle of the input",
			input: recordLine + "\n" + stateLine[:40] + "\n" + recordLine + "\n",
			want:  []string{"1 " + recordLine + "\n"}, err: "Line 2 of the input " + broken,
		},
		{
			name:  "a record of another order cut short",
			input: `{"record":{"stream":"s","da` + "\n", err: "Line 1 of the input " + broken,
		},
		{
			name:  "a last record cut short",
			input: recordLine + "\n" + recordLine[:50],
			want:  []string{"1 " + recordLine + "\n"}, err: "Line 2 of the input " + broken,
		},
		{
			name:  "a last record that nests deeper than encoding/json reads",
			input: deepRecord, want: []string{"1 " + deepRecord + "\n"},
		},
		{name: "a last line cut in its first bytes", input: stateLine + "\n{\"ty", want: []string{stateStep}, err: "Line 2 of the input " + broken},
		{name: "a last line of free text", input: recordLine + "\nbye", want: []string{"1 " + recordLine + "\n"}, warns: 1},
		{
			name:  "a broken record in the middle is left to who reads its values",
			input: `{"type":"RECORD","record":{` + "\n" + recordLine + "\n",
			want:  []string{"1 " + `{"type":"RECORD","record":{` + "\n" + recordLine + "\n"},
		},
	}
	readers := map[string]func(io.Reader) io.Reader{
		"at once":      func(r io.Reader) io.Reader { return r },
		"with EOF":     iotest.DataErrReader,
		"byte by byte": iotest.OneByteReader,
	}
	for _, tt := range tests {
		for how, wrap := range readers {
			t.Run(tt.name+"/"+how, func(t *testing.T) {
				var log bytes.Buffer
				in := NewInput(wrap(strings.NewReader(tt.input)), slog.New(slog.NewTextHandler(&log, nil)))
				got := steps(in)
				if tt.err != "" {
					if len(got) == 0 || !strings.HasPrefix(got[len(got)-1], "error: ") || !strings.Contains(got[len(got)-1], tt.err) {
						t.Fatalf("got %q, want an error with %q at the end", got, tt.err)
					}
					got = got[:len(got)-1]
				}
				if _, err := in.Next(); err == nil || errors.Is(err, io.EOF) != (tt.err == "") {
					t.Errorf("Next after the end gives %v", err)
				}
				if diff := cmp.Diff(tt.want, got, cmpopts.EquateEmpty()); diff != "" {
					t.Errorf("steps (-want +got):\n%s", diff)
				}
				if n := strings.Count(log.String(), "level=WARN"); n != tt.warns {
					t.Errorf("%d warnings, want %d:\n%s", n, tt.warns, &log)
				}
			})
		}
	}
}

func TestInputHandsOutAStateAtOnce(t *testing.T) {
	r, w := io.Pipe()
	in := NewInput(r, quiet())
	go func() {
		_, _ = io.WriteString(w, recordLine+"\n"+stateLine+"\n"+recordLine[:10])
		// The writer stays; nothing more comes until the state has been seen.
	}()
	for _, want := range []func(Item) bool{
		func(i Item) bool { return i.Records != nil },
		func(i Item) bool { return i.State != nil },
	} {
		item, err := in.Next()
		if err != nil || !want(item) {
			t.Fatalf("Next = %+v, %v", item, err)
		}
	}
	go func() {
		_, _ = io.WriteString(w, recordLine[10:]+"\n")
		w.CloseWithError(errors.New("device gone"))
	}()
	item, err := in.Next()
	if err != nil || item.Records == nil || string(item.Records.Data) != recordLine+"\n" || item.Records.Line != 3 {
		t.Fatalf("Next = %+v, %v", item, err)
	}
	if _, err := in.Next(); err == nil || err.Error() != "reading the input: device gone" {
		t.Errorf("Next = %v, want the reader's error", err)
	}
}

func TestInputGivesLinesBeforeTheReadersError(t *testing.T) {
	in := NewInput(io.MultiReader(strings.NewReader(recordLine+"\n{"), iotest.ErrReader(errors.New("device gone"))), quiet())
	want := []string{"1 " + recordLine + "\n", "error: reading the input: device gone"}
	if diff := cmp.Diff(want, steps(in)); diff != "" {
		t.Errorf("steps (-want +got):\n%s", diff)
	}
}

// A line that is no message may hold whatever its writer should have kept to itself: a configuration in the place of
// the source's output, a message that was torn.
func TestForeignLinesAreNotShown(t *testing.T) {
	input := `{"credentials":{"client_secret":"opensesame"}}` + "\n" + `"opensesame"` + "\nopensesame\n" +
		`{"type":"TRACE","trace":{"type":"STREAM_STATUS","stream_status":"opensesame"}}` + "\n" + `{"type":"opensesame"}` + "\n"
	var said bytes.Buffer
	in := NewInput(strings.NewReader(input), slog.New(slog.NewTextHandler(&said, nil)))
	_, err := in.Next()
	if err == nil || strings.Contains(err.Error()+said.String(), "opensesame") || strings.Count(said.String(), "line=") != 5 {
		t.Errorf("%v\n%s", err, &said)
	}
}
