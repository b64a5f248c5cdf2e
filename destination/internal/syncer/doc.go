// Package syncer runs a sync: it reads the messages of a source, writes the
// records of each stream into the stream's table, commits them together with the
// state that covers them, and echoes each state once it is durable.
//
//	input ─┬─ records ──────────► workers: JSON to columns to Parquet files
//	       │                         │ a commit is due: close the files
//	       └─ states, statuses ─► checkpoints: which rows does a state cover?
//	                                 │ commit plan
//	                                 ▼
//	                              commit: a snapshot per table, with its state
//	                                 │ all tables that a state covers are committed
//	                                 ▼
//	                              echo the state
//
// One goroutine handles the input in order; another reads ahead. Until the input
// ends, a stream is committed only at one of its states, so a snapshot holds exactly
// the rows that its state covers. A commit is due when no record has come since a state
// and one of the limits (rows and bytes for each table, age, memory of states) is
// reached, or a stream is complete and nothing has come for three seconds. That is
// asked before the next record, 20 ms after the last state, and every second. Rows that
// the last commit had to leave out, because their stream waits for its next state or
// for the end of the input, do not count for the limits.
//
// # Segments, states and commits
//
// Each state ends a segment of the input. Here are two streams, a and b, with
// records in lower case and states in upper case:
//
//	input     a  a  A │ b  a  B │
//	segment   1  1    │ 2  2    │ 3
//
// State A covers the rows of stream a in segment 1, state B those of stream b up
// to segment 2. What is committed depends on when a commit is due:
//
//   - At A: two rows go to table a, with state A. A is echoed with a count of 2.
//     At B, one row goes to table b, and B is echoed with a count of 1. The last
//     row of a is not covered yet: it waits for the next state of a.
//   - At B, and not before: one row goes to table b, and B is echoed. Stream a
//     is left out of the plan, since a worker holds a row of it that A does not
//     cover. State A stays pending until the next state of a.
//   - Neither: at the end of the input, after a COMPLETE status, all three rows of
//     a are committed with state A. If nothing proves that a is complete, only the
//     two that A covers are; the source sends the third again.
//
// A GLOBAL or LEGACY state covers all streams: their tables are committed together, and
// then it is echoed. At the end, rows after the last one are committed if all streams are
// complete. A stream in overwrite mode is committed at the end alone.
//
// # Glossary
//
// Of the input:
//
//   - segment: the messages between two states, numbered from 1.
//   - covered: a row in or before a segment that a state of its stream ends.
//   - pending state: one that is in no commit plan yet. Its message is in memory or
//     in a temporary file.
//   - proof: what the input says of a stream's completeness.
//   - generation: the number that Airbyte gives to a stream's rows. It rises when
//     the stream is to be sent from its beginning again.
//   - refresh: a sync that removes the rows of older generations, once its own are
//     complete. Until then its rows are on a branch of the table.
//
// Of a commit:
//
//   - commit plan: which rows and states become durable together.
//   - planned: a row in a commit plan, whether or not the commit has ended.
//   - waiting row: one that the last plan left out. It does not count for the limits
//     until its stream can be committed.
//   - at the end: how a stream is committed whose rows replace others where readers see
//     them: nothing before it is complete, and then all in one commit.
//   - gathered: taken over by one worker, so that a few rows become one file.
//   - staged: in a closed data file that no snapshot has yet.
//   - echo: the state sent back to the platform, which acknowledges its rows.
//   - decision: what is kept of a stream at the end, and whether it failed.
//
// Of a worker:
//
//   - job: a batch of records, of any streams, to be decoded.
//   - task: what every worker does between two jobs, such as closing files.
//   - stream buffer: rows of one stream that one worker has decoded since its files
//     were closed.
//
// The package is not called sync, because it uses the standard library's package
// of that name, nor engine, because here engines are what queries tables.
package syncer
