package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

// FuzzInput compares Input with a reader that does the same slowly: split at
// line feeds, then encoding/json. No line may be lost, doubled or reordered, and
// an error must point at a line that is broken, or say that there was no message
// at all. A backquote, which JSON has no use for, stands for a third of a block,
// so that lines are longer than blocks, and too long.
func FuzzInput(f *testing.F) {
	f.Add([]byte(recordLine+"\n"+stateLine+"\r\n\n"+recordLine), uint64(0))
	f.Add([]byte(rawjson.ByteOrderMark+`{"record":{"a":[{}]},"type":"RECORD"}`+"\nnull\n{\"type\":5}\n"), uint64(1))
	f.Add([]byte(`{"type":"TRACE","trace":{"type":"STREAM_STATUS","stream_status":{"stream_descriptor":{"name":"s"},"status":"COMPLETE"}}}`), uint64(2))
	f.Add([]byte(`{"type":"STATE","state":{"global":{"stream_states":[]}}}`+"\n"+`{"type":"REC`), uint64(3))
	f.Add([]byte("{\"a\\\"\\\\\":\"\\\\\",\"type\" :\t\"RECORD\"}\n{\"type\":\"\\u0052ECORD\"}\n"), uint64(4))
	f.Add([]byte(recordLine+"\n"+`{"type":"RECORD","record":{"stream":"s","data":{"a":"`+"````"+`"}}}`+"\r\n"+stateLine+"\n"+recordLine), uint64(5))
	f.Add([]byte("``\n"+recordLine+"\n"+`{"type":"STATE","state":{"stream":{"stream_descriptor":{"name":"s"},"stream_state":"`+"``"+`"}}}`+"\n"+recordLine+"\n`"), uint64(6))
	f.Add([]byte(recordLine+"\n"+`{"type":"RECORD","record":{"data":{"a":"`+"````````"+`"}}}`+"\n"+recordLine), uint64(7))
	f.Add([]byte("null\nTraceback: {\n\n"), uint64(8))
	f.Fuzz(func(t *testing.T, data []byte, seed uint64) {
		data = bytes.ReplaceAll(data, []byte("`"), bytes.Repeat([]byte("x"), blockSize/3))
		if len(data) > 8*blockSize {
			return // which would be slow
		}
		in := NewInput(ragged{bytes.NewReader(data), rand.New(rand.NewPCG(seed, 0))}, quiet())
		in.maxLine = 2 * blockSize
		records := map[int64]string{}
		var steering []string
		var failed error
		var failedAt, last int64
		for {
			item, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				failed = err
				if strings.HasPrefix(err.Error(), "The input ") {
					break
				}
				if _, err := fmt.Sscanf(err.Error(), "Line %d of the input", &failedAt); err != nil {
					t.Fatalf("an error without a line: %v", failed)
				}
				break
			}
			switch {
			case item.Records != nil:
				n := item.Records.Line
				for line := range strings.Lines(string(item.Records.Data)) {
					if n <= last {
						t.Fatalf("line %d after line %d", n, last)
					}
					records[n], last = line, n
					n++
				}
				item.Records.Release()
			case item.State != nil:
				steering = append(steering, string(item.State.Raw))
			case item.Status != nil:
				steering = append(steering, item.Status.Stream.String()+string(item.Status.Status))
			}
		}
		checkAgainstSlowReader(t, data, records, steering, failed, failedAt)
	})
}

func checkAgainstSlowReader(t *testing.T, data []byte, records map[int64]string, steering []string, failed error, failedAt int64) {
	data = bytes.TrimPrefix(data, []byte(rawjson.ByteOrderMark))
	number, noMessage := int64(0), failed != nil && failedAt == 0
	for line := range strings.Lines(string(data)) {
		number++
		if !strings.HasSuffix(line, "\n") {
			line += "\n"
		}
		kind, step := slowRead(line)
		if failed != nil && number == failedAt {
			hidden := kind == "foreign" && strings.Contains(line[1:], "{") // a message behind other text
			if !hidden && kind != "broken" && kind != "bad state" && kind != "ambiguous" && len(line) <= 2*blockSize {
				t.Errorf("error at a line that is %s: %v", kind, failed)
			}
			return
		}
		if kind == "ambiguous" {
			return
		}
		if noMessage && kind != "broken" && kind != "foreign" && kind != "other" {
			t.Errorf("line %d is a %s, yet: %v", number, kind, failed)
		}
		got, taken := records[number]
		delete(records, number)
		switch kind {
		case "bad state":
			t.Errorf("line %d: no error for a bad state", number)
		case "broken": // either way, but if it is taken, then as it is
			if taken && got != line {
				t.Errorf("line %d is %q, want %q", number, got, line)
			}
		case "record":
			if got != line {
				t.Errorf("line %d is %q, want %q", number, got, line)
			}
		case "steering":
			if len(steering) == 0 || steering[0] != step {
				t.Fatalf("line %d: steps %q, want %q first", number, steering, step)
			}
			steering = steering[1:]
		}
		if taken && kind != "record" && kind != "broken" {
			t.Errorf("line %d, %s, was taken for a record", number, kind)
		}
	}
	if failed != nil && !noMessage {
		t.Errorf("error at line %d of %d: %v", failedAt, number, failed)
	}
	if len(records) > 0 || len(steering) > 0 {
		t.Errorf("steps from nowhere: %v %q", records, steering)
	}
}

// slowRead says what a line is, and of a state or status what Input returns.
func slowRead(line string) (kind, step string) {
	text := strings.Trim(line, " \t\r\n")
	if !json.Valid([]byte(text)) {
		return "broken", ""
	}
	if !strings.HasPrefix(text, "{") {
		return "foreign", ""
	}
	dec := json.NewDecoder(strings.NewReader(text))
	_, _ = dec.Token()
	members := map[string]json.RawMessage{}
	for dec.More() {
		name, _ := dec.Token()
		var value json.RawMessage
		_ = dec.Decode(&value)
		key := strings.ToLower(name.(string))
		if _, twice := members[key]; twice || key != name {
			return "ambiguous", "" // readers differ on which one counts
		}
		members[key] = value
	}
	var kindOf string
	if err := json.Unmarshal(members["type"], &kindOf); err != nil {
		return "foreign", ""
	}
	switch kindOf {
	case "RECORD":
		return "record", ""
	case "STATE":
		s, err := ParseState(members["state"])
		if err != nil {
			return "bad state", ""
		}
		return "steering", string(s.Raw)
	case "TRACE":
		var tr incomingTrace
		err := json.Unmarshal(members["trace"], &tr)
		if err == nil && tr.Type == "STREAM_STATUS" && tr.StreamStatus != nil && tr.StreamStatus.Descriptor.Name != "" {
			return "steering", tr.StreamStatus.Descriptor.id().String() + string(tr.StreamStatus.Status)
		}
	}
	return "other", ""
}
