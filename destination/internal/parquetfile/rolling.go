package parquetfile

import (
	"math"

	"github.com/apache/arrow-go/v18/arrow"
	iceio "github.com/apache/iceberg-go/io"
)

// A RollingWriter writes row groups into one file after another.
type RollingWriter struct {
	files       iceio.WriteFileIO
	newPath     func() string
	targetBytes int64
	maxChunks   int // of a file
	complete    func(*Writer) error
	file        *Writer // nil: none is open
}

// OneFile is the target size of a file that takes all rows, however many.
const OneFile = math.MaxInt64

// NewRollingWriter returns a writer that gives a file to complete when it has the
// target size.
func NewRollingWriter(files iceio.WriteFileIO, newPath func() string, targetBytes int64, complete func(*Writer) error) *RollingWriter {
	return &RollingWriter{files: files, newPath: newPath, targetBytes: targetBytes, maxChunks: MaxChunks, complete: complete}
}

// Open makes the open file one that can take these rows. It returns the path of
// the file if it has just been created, and otherwise "".
func (w *RollingWriter) Open(rec arrow.RecordBatch, e *Encoding) (created string, err error) {
	huge := hugeColumns(rec)
	if w.file != nil && !w.file.encoding.allowsHuge(huge) {
		if err := w.Roll(); err != nil {
			return "", err
		}
	}
	if w.file != nil {
		return "", nil
	}
	path := w.newPath()
	w.file, err = Create(w.files, path, rec.Schema(), e.WithoutStatistics(huge))
	return path, err
}

// Write writes one row group into the file that was opened for it.
func (w *RollingWriter) Write(rec arrow.RecordBatch) error {
	if err := w.file.Write(rec); err != nil {
		return err
	}
	if w.targetBytes != OneFile && (w.file.count.n >= w.targetBytes || w.file.chunks >= w.maxChunks) {
		return w.Roll()
	}
	return nil
}

// Roll completes the open file, if there is one.
func (w *RollingWriter) Roll() error {
	if w.file == nil {
		return nil
	}
	file := w.file
	w.file = nil
	return w.complete(file)
}

// Abort removes the open file, if there is one.
func (w *RollingWriter) Abort() error {
	if w.file == nil {
		return nil
	}
	file := w.file
	w.file = nil
	return file.Abort()
}
