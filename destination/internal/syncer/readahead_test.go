package syncer

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"testing"
	"testing/synctest"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// While long messages are decoded nothing else is read, however many workers are idle.
func TestLongMessagesAreReadOneAtATime(t *testing.T) {
	record := func(size int) string {
		return `{"type":"RECORD","record":{"stream":"s","data":{"v":"` + strings.Repeat("x", size) + `"}}}` + "\n"
	}
	for name, tt := range map[string]struct {
		size  int
		first int // messages that are read before any is done
	}{
		"short ones":            {longMessageBytes / 2, 6},
		"long ones":             {maxLongBytes / 3, 3},
		"one that is very long": {maxLongBytes, 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				input := io.MultiReader()
				for range 6 { // one read gives no more than one message
					input = io.MultiReader(input, strings.NewReader(record(tt.size)))
				}
				long := newLongMessages()
				items, ended := readAhead(t.Context(), protocol.NewInput(input, slog.New(slog.DiscardHandler)), long)
				var working [][]byte
				receive := func() {
					for {
						synctest.Wait()
						select {
						case item := <-items:
							working = append(working, bytes.Clone(item.Records.Data))
							item.Records.Release()
						default:
							return
						}
					}
				}
				receive()
				if len(working) != tt.first {
					t.Fatalf("%d messages are worked on at once, want %d", len(working), tt.first)
				}
				for done := 0; done < 6; done++ {
					if len(working) == done {
						t.Fatalf("after %d messages nothing is read", done)
					}
					long.done(len(working[done]))
					receive()
				}
				if err := <-ended; !errors.Is(err, io.EOF) {
					t.Error(err)
				}
				for _, data := range working {
					if string(data) != record(tt.size) {
						t.Errorf("a message of %d bytes is read as one of %d", len(record(tt.size)), len(data))
					}
				}
			})
		})
	}
}
