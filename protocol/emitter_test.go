package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

var (
	noon  = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	sleep = StreamID{Name: "sleep"}
	odd   = StreamID{Namespace: "n", Name: `a"<b`}
)

// newTestEmitter returns an emitter whose clock stands at noon.
func newTestEmitter(w io.Writer) *Emitter {
	e := NewEmitter(w, EmitterOptions{})
	e.now = func() time.Time { return noon }
	return e
}

// writes keeps what each Write was given.
type writes struct {
	mu    sync.Mutex
	parts [][]byte
	err   error
}

func (w *writes) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.err != nil {
		return 0, w.err
	}
	w.parts = append(w.parts, bytes.Clone(p))
	return len(p), nil
}

func (w *writes) count() int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return len(w.parts)
}

func TestEmitterWritesWholeLinesFromManyGoroutines(t *testing.T) {
	var w writes
	e := NewEmitter(&w, EmitterOptions{})
	const goroutines, each = 4, 2000
	var group sync.WaitGroup
	for g := range goroutines {
		group.Go(func() {
			id := StreamID{Name: fmt.Sprint("s", g)}
			for i := range each {
				size := i % 300
				if i == 1000 {
					size = 3 << 20
				}
				if err := e.Record(id, json.RawMessage(`{"x":"`+strings.Repeat("x", size)+`"}`)); err != nil {
					t.Error(err)
				}
				if i%100 == 99 {
					if err := e.State(NewStreamState(id, json.RawMessage(`{}`))); err != nil {
						t.Error(err)
					}
				}
			}
		})
	}
	group.Wait()
	records, states := 0, 0
	for _, part := range w.parts {
		if part[len(part)-1] != '\n' {
			t.Fatalf("a write ends in the middle of a line: …%q", part[max(0, len(part)-50):])
		}
		for _, word := range outline(t, part) {
			switch {
			case strings.HasPrefix(word, "record s"):
				records++
			case word == "state 100.0":
				states++
			default:
				t.Fatalf("unexpected %s", word)
			}
		}
	}
	if records != goroutines*each || states != goroutines*each/100 {
		t.Errorf("%d records and %d states", records, states)
	}
	e.mu.Lock() // the timer may still flush
	defer e.mu.Unlock()
	if cap(e.buf) > 2*outputBuffer {
		t.Errorf("the buffer keeps %d bytes after a huge record", cap(e.buf))
	}
}

func TestRecordsWaitNoLongerThanTheFlushInterval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var w writes
		e := NewEmitter(&w, EmitterOptions{})
		for round := range 3 {
			if err := e.Record(sleep, json.RawMessage(`{}`)); err != nil {
				t.Fatal(err)
			}
			time.Sleep(flushInterval / 2)
			synctest.Wait()
			if w.count() != round {
				t.Fatalf("round %d: %d writes before the interval is over", round, w.count())
			}
			time.Sleep(flushInterval)
			synctest.Wait()
			if w.count() != round+1 {
				t.Fatalf("round %d: %d writes", round, w.count())
			}
		}
	})
}

func TestTheFirstFailedWriteIsKept(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := writes{err: errors.New("disk full")}
		e := NewEmitter(&w, EmitterOptions{})
		if err := e.Record(sleep, json.RawMessage(`{}`)); err != nil {
			t.Fatalf("a buffered record failed: %v", err)
		}
		time.Sleep(2 * flushInterval) // the timer meets the error
		synctest.Wait()
		w.err = nil
		for name, err := range map[string]error{
			"Record": e.Record(sleep, json.RawMessage(`{}`)), "State": e.State(NewStreamState(sleep, nil)), "Log": e.Log("INFO", "x"),
			"Status": e.Status(sleep, Started), "Flush": e.Flush(),
		} {
			if err == nil || err.Error() != "writing to standard output: disk full" {
				t.Errorf("%s = %v, want the first error", name, err)
			}
		}
		if w.count() != 0 {
			t.Errorf("written after an error: %q", w.parts)
		}
	})
}
