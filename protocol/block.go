package protocol

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

const (
	blockSize   = 1 << 20
	minRead     = 64 << 10  // the most that a pipe returns
	maxLineSize = 256 << 20 // the longest message read
)

// A block is a part of the input. The Input's goroutine appends to it while others read
// the bytes before. Bytes that were read do not change until the last reference is gone.
type block struct {
	buf  []byte // buf[:n] holds whole lines, buf[n:] the beginning of one
	n    int
	refs atomic.Int32
	pool *sync.Pool
}

func (b *block) release() {
	if b.refs.Add(-1) == 0 && !b.grown() {
		b.pool.Put(b)
	}
}

// grown reports whether the block was enlarged for a long line.
func (b *block) grown() bool { return cap(b.buf) > blockSize }

// fill reads until there is at least one more complete line. It continues in the current
// block while that has room, so that a slow pipe does not need a block for every read,
// and a line between two blocks is copied once.
func (in *Input) fill() error {
	if in.block == nil {
		if in.err != nil {
			return in.err
		}
		in.block = in.newBlock(0)
	}
	for in.err == nil {
		b := in.room()
		old := len(b.buf)
		most := min(cap(b.buf)-1, old+blockSize) // lastLine needs one byte
		n, err := in.r.Read(b.buf[old:most])
		b.buf = b.buf[:old+n]
		switch { // the lines before an error are handed out first
		case errors.Is(err, io.EOF):
			in.err = io.EOF
		case err != nil:
			in.err = fmt.Errorf("reading the input: %w", err)
		}
		if end := bytes.LastIndexByte(b.buf[old:], '\n'); end >= 0 {
			b.n = old + end + 1
			return nil
		}
		if len(b.buf)-b.n > in.maxLine {
			in.err = &Error{Kind: SystemError, Message: fmt.Sprintf(
				"Line %d of the input is longer than %d MiB, the longest message this destination reads. Deselect at the source what is so large, or report it to the source's maker.", in.line, in.maxLine>>20)}
		}
	}
	if errors.Is(in.err, io.EOF) && len(in.block.buf) > in.block.n {
		return in.lastLine()
	}
	if errors.Is(in.err, io.EOF) {
		return in.end(in.eof())
	}
	return in.end(in.err)
}

// end makes every further call return err.
func (in *Input) end(err error) error {
	in.block.release()
	in.block, in.err = nil, err
	return err
}

// lastLine ends a last line without a line feed.
func (in *Input) lastLine() error {
	b := in.block
	if line := bytes.Trim(b.buf[b.n:], " \t\r\n"); len(line) > 0 && line[0] == '{' {
		if !rawjson.Complete(line) {
			return in.end(brokenMessage(TransientError, in.line, errors.New("it ends in the middle")))
		}
	}
	b.buf = append(b.buf, '\n')
	b.n = len(b.buf)
	return nil
}

// room returns the current block if it has room for a read, else a new one that begins
// with the unfinished line.
func (in *Input) room() *block {
	old := in.block
	if cap(old.buf)-len(old.buf) <= minRead || old.grown() && old.n > 0 {
		in.move()
	}
	return in.block
}

// move continues in a new block with the rest of the current one. A block that grew for
// a long line is used for that line only, so that later input does not keep it in memory.
func (in *Input) move() {
	old := in.block
	rest := old.buf[in.pos:]
	b := in.newBlock(len(rest))
	b.buf, b.n = append(b.buf, rest...), old.n-in.pos
	old.release()
	in.block, in.pos = b, 0
}

// newBlock returns an empty block for an unfinished line that has rest bytes so far. A
// long line gets twice as much, up to what the longest line needs.
func (in *Input) newBlock(rest int) *block {
	size := blockSize
	if rest > blockSize/2 {
		size = max(size, min(2*rest, in.maxLine)+2*minRead)
	}
	b, _ := in.free.Get().(*block)
	if b == nil || cap(b.buf) < size {
		b = &block{buf: make([]byte, 0, size), pool: &in.free}
	}
	b.buf, b.n = b.buf[:0], 0
	b.refs.Store(1)
	return b
}
