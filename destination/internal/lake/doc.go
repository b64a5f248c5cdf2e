// Package lake keeps one stream in one Iceberg table: it creates and evolves the
// table, writes data files, commits them with the state that covers them, and
// reads states back. Package maintenance keeps such tables in shape, and package inspect
// reads their rows.
//
// # How a commit goes
//
// A [Writer] writes rows into data files, which [Completed.Staged] hands over as
// [Staged]. [Table.Commit] is a transaction, and makes attempts:
//
//  1. Load the table, and check that it is the one that was opened.
//  2. Decide what becomes of the files: append adds them; append_dedup finds the
//     rows that lose, and rewrites files or writes deletes (upsert.go); an
//     overwrite removes the others (replace.go); a refresh goes to its branch and
//     is moved to the main branch at its end (refresh.go).
//  3. Write the manifests of the snapshot (package snapshots), with the commit's
//     token and the state in its summary.
//  4. Ask the catalog to apply it if the table is still at the snapshot that step
//     2 looked at.
//
// A refusal leads to the next attempt. After an answer that says nothing, the next
// attempt first looks for the token, so that no commit is there twice
// (transaction.go). Files are removed only when no attempt can have committed
// them.
//
// # Terms
//
//   - plan: how the records of a stream become rows of its table (package columnar).
//   - attempt: at a transaction; it makes a proposal, which the catalog takes or not.
//   - proposal: the updates that an attempt asks for, and what they require.
//   - outcome: committed, refused, failed or unknown (transaction.go).
//   - tip: the last snapshot of a branch.
//   - completed: written, and perhaps not safe in the storage yet.
//   - staged: written, safe, and named by no snapshot yet.
//   - outdated file: a data file of the table with rows that staged rows replace.
//   - superseded row: loses to another row of its key. Superseded file: nothing
//     needs it once the change is committed.
//   - token: names a commit in the summary of its snapshot.
//   - landed: the table has the commit, whatever the catalog answered.
//   - state: of the rows that a reader sees, in the summary of the snapshot or in
//     a property that is tied to a snapshot (state.go).
//   - generation: all rows since a refresh began. Older ones are removed when the
//     refresh is complete.
//   - retry budget: how much longer a commit may wait for the catalog and for
//     other writers.
package lake
