package protocol

import (
	"encoding/json"
	"errors"
	"io"
	"strings"
	"testing"
)

// repeated gives the same bytes over and over, n bytes in all, in pieces of at
// most chunk.
type repeated struct {
	text  string
	n     int64
	chunk int
	pos   int
}

func (r *repeated) Read(p []byte) (int, error) {
	if r.n <= 0 {
		return 0, io.EOF
	}
	n := copy(p[:min(len(p), r.chunk)], r.text[r.pos:])
	r.pos = (r.pos + n) % len(r.text)
	r.n -= int64(n)
	return n, nil
}

// A gigabyte of records of 1 KB with a state after every 10,000th.
func BenchmarkInput(b *testing.B) {
	text := strings.Repeat(record(1, 940), 10_000) + stateLine + "\n"
	size := int64(len(text)) * (1 << 30 / int64(len(text)))
	for name, chunk := range map[string]int{"file": 1 << 30, "pipe": minRead} {
		b.Run(name, func(b *testing.B) {
			b.SetBytes(size)
			b.ReportAllocs()
			for b.Loop() {
				in := NewInput(&repeated{text: text, n: size, chunk: chunk}, quiet())
				var n int64
				for {
					item, err := in.Next()
					if errors.Is(err, io.EOF) {
						break
					}
					if err != nil {
						b.Fatal(err)
					}
					if item.Records != nil {
						n += int64(len(item.Records.Data))
						item.Records.Release()
					}
				}
				if want := size - size/int64(len(text))*int64(len(stateLine)+1); n != want {
					b.Fatalf("%d bytes of records, want %d", n, want)
				}
			}
		})
	}
}

func BenchmarkEmitterRecord(b *testing.B) {
	data := json.RawMessage(`{"x":"` + strings.Repeat("x", 1000) + `"}`)
	e := NewEmitter(io.Discard, EmitterOptions{})
	b.SetBytes(int64(len(data)))
	b.ReportAllocs()
	for b.Loop() {
		if err := e.Record(sleep, data); err != nil {
			b.Fatal(err)
		}
	}
}
