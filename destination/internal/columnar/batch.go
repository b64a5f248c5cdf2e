package columnar

import "github.com/apache/arrow-go/v18/arrow"

// RowMeta is what every row of a sync says about the sync; nil is null.
type RowMeta struct{ SyncID, GenerationID *int64 }

// Batch is the rows of one stream that are being collected, as columns. It is
// for one goroutine.
type Batch struct{}

// NewBatch returns an empty batch.
func NewBatch(l *Layout, m RowMeta) *Batch { return &Batch{} }

// Rows returns the number of rows held.
func (b *Batch) Rows() int { return 0 }

// Bytes returns the size of what the column buffers hold.
func (b *Batch) Bytes() int { return 0 }

// Record returns the rows as Arrow arrays over the batch's own memory, valid
// until Reset.
func (b *Batch) Record() arrow.RecordBatch { return nil }

// Order returns the place of each row in the input, later rows having higher
// numbers. It is nil unless the plan is Dedup.
func (b *Batch) Order() []uint64 { return nil }

// Reset empties the batch.
func (b *Batch) Reset() {}
