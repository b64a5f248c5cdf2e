package syncer

import (
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/lake"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/metrics"
)

// Config is the part of the user's configuration that a sync needs.
type Config struct {
	Commit      CommitLimits
	Completion  Completion
	Memory      Memory
	Scratch     string        // the directory for states that do not fit into memory; "": the machine's temporary one
	SignalDelay time.Duration // see [SignalDelay]
	// Committed is told of the tables whose rows a commit changed, after its states are
	// echoed. The next commit waits until it returns. nil: nobody wants to know.
	Committed func([]*lake.Table)
	Metrics   *metrics.Metrics // nil: nothing is measured
}

// CommitLimits say when a commit is due: at the first STATE after any of these. Where
// several tables have rows to commit, the rows and mebibytes of all streams are divided
// by their number; more than eight count as eight. States that could be committed and
// take a sixteenth of the memory make a commit due, too.
//
// Rows count once for a commit. Those that it must leave out, because their stream
// waits for its next state or for the end of the input, count again when they no
// longer wait: otherwise each state of another stream would make a commit of its own.
// Mebibytes and seconds start again with each commit, whatever it leaves.
type CommitLimits struct {
	MaxRows      int64 `json:"max_rows,omitempty" jsonschema:"title=Rows,default=1000000,minimum=1,maximum=1000000000"`
	MaxMebibytes int64 `json:"max_mebibytes,omitempty" jsonschema:"title=Input (MiB),default=256,minimum=1,maximum=1048576"`
	MaxSeconds   int64 `json:"max_seconds,omitempty" jsonschema:"title=Seconds,default=300,minimum=1,maximum=86400"`
}

// Descriptions describes the keys in the specification.
func (CommitLimits) Descriptions() map[string]string {
	return map[string]string{
		"max_rows":      "Rows since the last commit, divided by the number of tables that have rows to commit; more than eight count as eight. Rows that it had to leave out count when they can be committed.",
		"max_mebibytes": "Mebibytes of input since the last commit, divided like the rows.",
		"max_seconds":   "Seconds since the last commit, or if it left nothing, since the first message after it.",
	}
}

func (l CommitLimits) maxAge() time.Duration { return time.Duration(l.MaxSeconds) * time.Second }
