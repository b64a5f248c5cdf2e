package columnar

import "bytes"

// Lines of several streams may come by turns. Each stream has columns of its own, some
// hundred pieces of memory, and the processor's caches hold those of a few streams. The
// lines of a run are therefore decoded stream by stream: those of its first stream at
// once, while the others are postponed.

// postponed are the lines of a run that are decoded after those of its first stream.
type postponed struct {
	lines   []postponedLine
	batches []*Batch // of the run, in the order of their first lines
	batch   *Batch   // of the current line, which must be postponed; nil: it need not be

	expected *Batch // of the current line, which was postponed; nil: it was not
}

type postponedLine struct {
	start, row int32 // in the run, which is shorter than 2 GiB
	next       int32 // index of the next line of its stream
}

// inRun is what a batch knows of the run that is being decoded.
type inRun struct {
	known       bool // by the run
	rowsBefore  int
	lines       int   // postponed ones
	first, last int32 // their indexes
}

// meet notes that a batch has lines in the run.
func (p *postponed) meet(b *Batch) {
	if !b.run.known {
		b.run = inRun{known: true, rowsBefore: b.rows}
		p.batches = append(p.batches, b)
	}
}

// add postpones the current line.
func (p *postponed) add(start, row int) {
	run, index := &p.batch.run, int32(len(p.lines))
	p.lines = append(p.lines, postponedLine{start: int32(start), row: int32(row)})
	if run.lines == 0 {
		run.first = index
	} else {
		p.lines[run.last].next = index
	}
	run.last = index
	run.lines++
	p.batch = nil
}

// takeBack removes the rows of the run.
func (p *postponed) takeBack() {
	for _, b := range p.batches {
		b.truncate(b.run.rowsBefore)
	}
	p.batch, p.expected = nil, nil
}

// end forgets the run.
func (p *postponed) end() {
	for _, b := range p.batches {
		b.noteChanges()
		b.run = inRun{}
	}
	clear(p.batches)
	p.lines, p.batches, p.batch, p.expected = emptied(p.lines[:0]), p.batches[:0], nil, nil
}

// decodeStreams decodes the lines of the run stream by stream. It reports false when one
// cannot be decoded, or belongs to another stream than it seemed at first.
func (d *Decoder) decodeStreams(seq uint64) bool {
	for i, row := 0, 0; i < len(d.text); row++ {
		d.line = i
		end := d.decodeLine(i, seq<<32|uint64(row))
		if end < 0 {
			if d.later.batch == nil {
				return false
			}
			d.later.add(i, row)
			end = i + bytes.IndexByte(d.text[i:], '\n') + 1
		}
		i = end
	}
	for _, b := range d.later.batches {
		d.batch, d.later.expected = nil, b
		index := b.run.first
		for range b.run.lines {
			line := d.later.lines[index]
			d.line = int(line.start)
			if d.decodeLine(d.line, seq<<32|uint64(line.row)) < 0 || d.batch != b {
				return false
			}
			index = line.next
		}
	}
	return true
}

// decodeInOrder decodes the lines of the run one after the other.
func (d *Decoder) decodeInOrder(firstLine int64, seq uint64) error {
	d.inOrder = true
	defer func() { d.inOrder = false }()
	for i, row := 0, uint64(0); i < len(d.text); row++ {
		d.line = i
		if i = d.decodeLine(i, seq<<32|row); i < 0 {
			return d.failure(firstLine + int64(row))
		}
	}
	return nil
}
