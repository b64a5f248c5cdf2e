package lake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/apache/iceberg-go"
	"github.com/apache/iceberg-go/table"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/checkpoint"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/snapshots"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// The state of a table is the state of the rows that a reader sees. So each
// snapshot of this program has the state of its rows in its summary, and the
// nearest such snapshot among the ancestors of the current one decides. It does
// not matter what other programs did: roll the table back, move a branch, or add
// snapshots of their own.
//
// A property of the table has a state, too, and the id of the snapshot to which
// that state belongs. It is for progress without rows, which makes no snapshot,
// and for tables whose snapshots another program expired.

const (
	// stateKey is the key of a state, in a snapshot's summary and among the
	// properties of a table. The property of a refresh's branch has the name of
	// the branch as suffix.
	stateKey = checkpoint.Key
	// stateSnapshotKey is the property with the id of the snapshot to whose rows
	// the state in the other property belongs.
	stateSnapshotKey = checkpoint.Key + "-snapshot"
	// noSnapshot is its value while there is no snapshot.
	noSnapshot = "none"
	// noState stands for a state where the rows have none but the rows of the
	// parent snapshot have one.
	noState = "null"
)

// ErrStateUnknown is the error for a table whose history no longer says to which
// state its rows belong.
var ErrStateUnknown = errors.New("the history of the table does not reach back to a state")

// suffixOf is the suffix of the properties of a branch.
func suffixOf(branch string) string {
	if branch == table.MainBranch {
		return ""
	}
	return "." + branch
}

// setState returns the update that ties a state to a branch's snapshot, which is
// nil before the first.
func setState(branch string, at *table.Snapshot, state json.RawMessage) table.Update {
	id := noSnapshot
	if at != nil {
		id = strconv.FormatInt(at.SnapshotID, 10)
	}
	return table.NewSetPropertiesUpdate(iceberg.Properties{stateKey + suffixOf(branch): string(state), stateSnapshotKey + suffixOf(branch): id})
}

// removeState returns the updates that remove the state properties of a branch.
func removeState(meta table.Metadata, branch string) []table.Update {
	var keys []string
	for _, key := range []string{stateKey + suffixOf(branch), stateSnapshotKey + suffixOf(branch)} {
		if _, ok := meta.Properties()[key]; ok {
			keys = append(keys, key)
		}
	}
	if keys == nil {
		return nil
	}
	return []table.Update{table.NewRemovePropertiesUpdate(keys)}
}

// stateAt returns the state of the rows that a branch has at a snapshot, nil if
// there is none.
func stateAt(ctx context.Context, tbl *table.Table, branch string, tip *table.Snapshot) (json.RawMessage, error) {
	found, err := findState(ctx, tbl, branch, tip)
	return found.state, err
}

// A foundState is a state and where it was found.
type foundState struct {
	state json.RawMessage
	in    *table.Snapshot // the ancestor to which it belongs, if that still exists
	old   bool            // it is a property without a snapshot id, as earlier versions wrote it
}

func findState(ctx context.Context, tbl *table.Table, branch string, tip *table.Snapshot) (foundState, error) {
	props := tbl.Properties()
	tied := statesBySnapshot(props, branch)
	alone := func() foundState { // from a property without a snapshot
		state, ok := props[stateKey+suffixOf(branch)]
		at, tied := props[stateSnapshotKey+suffixOf(branch)]
		if !ok || tied && at != noSnapshot {
			return foundState{}
		}
		return foundState{state: json.RawMessage(state), old: !tied}
	}
	history := &expiredSnapshots{table: tbl}
	for s := tip; s != nil; {
		state, ok := tied[s.SnapshotID]
		if !ok && s.Summary != nil {
			state = json.RawMessage(s.Summary.Properties[stateKey])
		}
		switch string(state) {
		case "":
		case noState:
			return foundState{in: s}, nil
		default:
			return foundState{state: state, in: s}, nil
		}
		parent, id := history.parent(ctx, s)
		if parent != nil {
			s = parent
			continue
		}
		only := alone()
		if id == 0 && isFirst(s) || only.state != nil || len(tied) == 0 {
			return only, nil
		}
		// Another program expired the parent.
		if state, ok := tied[id]; ok && string(state) != noState {
			return foundState{state: state}, nil
		}
		return foundState{}, fmt.Errorf("looking for what came before snapshot %d: %w", s.SnapshotID, ErrStateUnknown)
	}
	return alone(), nil
}

// KeepStates returns the updates that tie the state of each branch to its last
// snapshot, if the snapshot that has the state in its summary expires.
func KeepStates(ctx context.Context, base *table.Table, expired []int64) ([]table.Update, error) {
	var updates []table.Update
	for branch := range base.Metadata().Refs() {
		if branch != table.MainBranch && !strings.HasPrefix(branch, branchPrefix) {
			continue
		}
		tip := base.SnapshotByName(branch)
		found, err := findState(ctx, base, branch, tip)
		switch {
		case err != nil && !errors.Is(err, ErrStateUnknown):
			return nil, err
		case found.state != nil && found.in != nil && slices.Contains(expired, found.in.SnapshotID):
			updates = append(updates, setState(branch, tip, found.state))
		}
	}
	return updates, nil
}

// statesBySnapshot returns the states that properties tie to snapshots. Those of other
// branches count too, because another program may have moved a branch to a
// snapshot of another branch.
func statesBySnapshot(props iceberg.Properties, branch string) map[int64]json.RawMessage {
	tied := map[int64]json.RawMessage{}
	add := func(suffix string) {
		id, err := strconv.ParseInt(props[stateSnapshotKey+suffix], 10, 64)
		if state, ok := props[stateKey+suffix]; err == nil && ok {
			tied[id] = json.RawMessage(state)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(props)) {
		if suffix, ok := strings.CutPrefix(key, stateSnapshotKey); ok {
			add(suffix)
		}
	}
	add(suffixOf(branch)) // the branch's own properties are the most recent ones
	return tied
}

// isFirst reports whether a snapshot without a parent never had one. PyIceberg
// removes the parent from the child of a snapshot that it expires. Tables of
// format version 1 have no sequence numbers, so there only snapshots of this
// program can tell.
func isFirst(s *table.Snapshot) bool {
	return s.SequenceNumber == 1 || s.Summary != nil && s.Summary.Properties[tokenKey] != "" // ours has the state, if there was one before it
}

// expiredSnapshots finds expired snapshots in the metadata files that the table still
// lists.
type expiredSnapshots struct {
	table *table.Table
	files []string // metadata files that are not read yet, the newest last
	meta  []table.Metadata
}

// parent returns the parent of a snapshot, nil if it cannot be found, and the
// parent's id, 0 if there is none.
func (e *expiredSnapshots) parent(ctx context.Context, s *table.Snapshot) (*table.Snapshot, int64) {
	if s.ParentSnapshotID != nil {
		return e.snapshot(ctx, *s.ParentSnapshotID, nil), *s.ParentSnapshotID
	}
	if isFirst(s) {
		return nil, 0
	}
	before := e.snapshot(ctx, s.SnapshotID, func(s *table.Snapshot) bool { return s.ParentSnapshotID != nil })
	if before == nil {
		return nil, 0
	}
	return e.snapshot(ctx, *before.ParentSnapshotID, nil), *before.ParentSnapshotID
}

// snapshot returns the snapshot with an id from the newest metadata in which it
// suits, nil if there is none.
func (e *expiredSnapshots) snapshot(ctx context.Context, id int64, suits func(*table.Snapshot) bool) *table.Snapshot {
	in := func(meta table.Metadata) *table.Snapshot {
		if s := meta.SnapshotByID(id); s != nil && (suits == nil || suits(s)) {
			return s
		}
		return nil
	}
	if e.meta == nil {
		e.meta = append(e.meta, e.table.Metadata())
		for entry := range e.table.Metadata().PreviousFiles() {
			e.files = append(e.files, entry.MetadataFile)
		}
	}
	for _, meta := range e.meta {
		if s := in(meta); s != nil {
			return s
		}
	}
	files, err := e.table.FS(ctx)
	for err == nil && len(e.files) > 0 && ctx.Err() == nil {
		file := e.files[len(e.files)-1]
		e.files = e.files[:len(e.files)-1]
		text, err := snapshots.ReadMetadata(files, file)
		if err != nil {
			continue // it may have been removed, as each is one day
		}
		meta, err := table.ParseMetadataBytes(text)
		if err != nil {
			continue
		}
		e.meta = append(e.meta, meta)
		if s := in(meta); s != nil {
			return s
		}
	}
	return nil
}

// LastState returns the state of the rows that readers of a table see, as it was
// committed, nil if there is none.
func LastState(ctx context.Context, tbl *table.Table) (json.RawMessage, error) {
	state, err := stateAt(ctx, tbl, table.MainBranch, tbl.CurrentSnapshot())
	return state, explainState(tbl, err)
}

// explainState tells the user what to do about a state that is unknown.
func explainState(tbl *table.Table, err error) error {
	if !errors.Is(err, ErrStateUnknown) {
		return err
	}
	return &protocol.Error{Kind: protocol.ConfigError, Err: err, Message: fmt.Sprintf(
		"Another program expired the snapshots of table %s that hold its state, so it is unknown where the source can continue. Read the stream from its beginning: remove its state, or reset it in your orchestrator.",
		strings.Join(tbl.Identifier(), "."))}
}

// States returns all states in a table's metadata, in no order, including those
// of snapshots that are not visible.
func States(meta table.Metadata) []json.RawMessage {
	var all []json.RawMessage
	for key, state := range meta.Properties() {
		if (key == stateKey || strings.HasPrefix(key, stateKey+".")) && state != noState {
			all = append(all, json.RawMessage(state))
		}
	}
	for _, s := range meta.Snapshots() {
		if s.Summary == nil {
			continue
		}
		if state := s.Summary.Properties[stateKey]; state != "" && state != noState {
			all = append(all, json.RawMessage(state))
		}
	}
	return all
}

// inheritedState is the state of a snapshot without one of its own: that of its parent,
// so that it is known when the parent has expired.
func (c *fileCommit) inheritedState(ctx context.Context, base *table.Table, parent *table.Snapshot) (json.RawMessage, error) {
	if c.inheritState != nil {
		if state, err := c.inheritState(ctx, base); state != nil || err != nil {
			return state, err
		}
	}
	found, err := findState(ctx, base, c.branch, parent)
	switch {
	case errors.Is(err, ErrStateUnknown), found.old: // and stays so
		return nil, nil
	case err == nil && found.state == nil && found.in != nil:
		return json.RawMessage(noState), nil
	}
	return found.state, err
}
