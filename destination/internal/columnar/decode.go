package columnar

// Decoder turns RECORD lines into rows. It is for one goroutine; its zero
// value is ready.
type Decoder struct{}

// Decode parses whole RECORD lines and adds a row for each to the batch of its
// stream. seq numbers this run of lines in the input: the order of a row is
// seq<<32 | row in run. route gives the batch of a stream; it is called when
// the stream of a line differs from the line before. A nil batch means the
// stream is not in the catalog.
func (d *Decoder) Decode(lines []byte, firstLine int64, seq uint64, route func(namespace, name []byte) (*Batch, error)) error {
	return errUnfinished
}
