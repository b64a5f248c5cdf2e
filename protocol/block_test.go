package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"strings"
	"sync"
	"testing"
)

// record returns a RECORD line of about the given length.
func record(i, size int) string {
	return fmt.Sprintf(`{"type":"RECORD","record":{"stream":"s","emitted_at":%d,"data":{"x":"%s"}}}`+"\n", i, strings.Repeat("x", size))
}

// ragged reads in pieces of every size, as pipes do.
type ragged struct {
	r   io.Reader
	rnd *rand.Rand
}

func (r ragged) Read(p []byte) (int, error) {
	return r.r.Read(p[:min(len(p), 1+r.rnd.IntN(80<<10))])
}

func TestInputKeepsLinesOfAllLengths(t *testing.T) {
	sizes := []int{0, 1, 1000, minRead, blockSize - minRead - 100, blockSize - 70, blockSize, blockSize + 1, 5 << 20, 10, 9 << 20, 0, 3 << 20, 100}
	var input bytes.Buffer
	for i := range 3000 {
		size := i % 500
		if i%200 == 0 {
			size = sizes[i/200%len(sizes)]
		}
		input.WriteString(record(i, size))
	}
	for seed := range uint64(2) {
		in := NewInput(ragged{bytes.NewReader(input.Bytes()), rand.New(rand.NewPCG(seed, 1))}, quiet())
		var got bytes.Buffer
		line := int64(1)
		for {
			item, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil || item.Records == nil {
				t.Fatalf("Next = %+v, %v", item, err)
			}
			if item.Records.Line != line {
				t.Fatalf("run begins at line %d, want %d", item.Records.Line, line)
			}
			if count := int64(bytes.Count(item.Records.Data, []byte("\n"))); item.Records.Count != count {
				t.Fatalf("the run at line %d has a count of %d, and %d lines", line, item.Records.Count, count)
			}
			line += item.Records.Count
			got.Write(item.Records.Data)
			item.Records.Release()
		}
		if !bytes.Equal(got.Bytes(), input.Bytes()) {
			t.Fatalf("seed %d: the runs are not the input", seed)
		}
	}
}

// Workers read their runs while the input goes on reading into the same blocks.
func TestRecordsStayAsTheyAreUntilReleased(t *testing.T) {
	const n, workers = 20000, 4
	var input bytes.Buffer
	for i := range n {
		input.WriteString(record(i, i%700))
	}
	in := NewInput(ragged{&input, rand.New(rand.NewPCG(1, 2))}, quiet())
	work := make(chan *Records, 40)
	seen := make([]bool, n) // each index is written by one worker
	var group sync.WaitGroup
	for range workers {
		group.Go(func() {
			for run := range work {
				for line := range bytes.Lines(run.Data) {
					var m struct {
						Record struct {
							EmittedAt int `json:"emitted_at"`
							Data      struct{ X string }
						}
					}
					if err := json.Unmarshal(line, &m); err != nil {
						t.Errorf("%v in %s", err, line)
						continue
					}
					i := m.Record.EmittedAt
					if len(m.Record.Data.X) != i%700 || seen[i] {
						t.Errorf("record %d is not as it was written, or came twice", i)
					}
					seen[i] = true
				}
				run.Release()
			}
		})
	}
	for {
		item, err := in.Next()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		work <- item.Records
	}
	close(work)
	group.Wait()
	for i, ok := range seen {
		if !ok {
			t.Fatalf("record %d is missing", i)
		}
	}
}

func TestInputMemoryIsBounded(t *testing.T) {
	t.Run("a line too long", func(t *testing.T) {
		in := NewInput(io.MultiReader(strings.NewReader(recordLine+"\n"), endless{}), quiet())
		in.maxLine = 4 << 20
		got := steps(in)
		want := "error: Line 2 of the input is longer than 4 MiB, the longest message this destination reads. Deselect at the source what is so large, or report it to the source's maker."
		if len(got) != 2 || got[1] != want {
			t.Errorf("steps = %q, want %q at the end", got, want)
		}
	})
	t.Run("the block of a long line is not kept", func(t *testing.T) {
		in := NewInput(strings.NewReader(record(0, 9<<20)+strings.Repeat(recordLine+"\n", 100_000)), slog.New(slog.DiscardHandler))
		for {
			item, err := in.Next()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			if size := cap(item.Records.block.buf); item.Records.Line > 50_000 && size > blockSize {
				t.Fatalf("line %d stands in a block of %d bytes", item.Records.Line, size)
			}
			item.Records.Release()
		}
	})
}

type endless struct{}

func (endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	return len(p), nil
}

// A long line is held by its Records alone: whoever releases them frees its memory, also while the input waits.
func TestALongLineIsHeldByItsRecordsAlone(t *testing.T) {
	long := strings.Replace(recordLine, `"a":1`, `"a":"`+strings.Repeat("x", 5<<20)+`"`, 1) + "\n"
	in := NewInput(strings.NewReader(recordLine+"\n"+long+recordLine+"\n"+stateLine+"\n"), quiet())
	var got strings.Builder
	for {
		item, err := in.Next()
		if err != nil {
			break
		}
		if item.Records == nil {
			continue
		}
		if in.block.grown() {
			t.Errorf("the input keeps a block of %d bytes", cap(in.block.buf))
		}
		if refs := item.Records.block.refs.Load(); len(item.Records.Data) > blockSize && refs != 1 {
			t.Errorf("the block of a long line has %d references", refs)
		}
		got.Write(item.Records.Data)
		item.Records.Release()
	}
	if got.String() != recordLine+"\n"+long+recordLine+"\n" {
		t.Errorf("%d bytes are read", got.Len())
	}
}
