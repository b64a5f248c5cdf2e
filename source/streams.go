package main

import (
	"slices"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// A stream is one row of the table below. Paths are those of WHOOP's API, where {}
// stands for a key.
type stream struct {
	name   string
	schema string
	key    string   // the one field that identifies a row
	scopes []string // that the member must have granted

	// object is the path of a stream that is one object, read in full.
	object string

	// collection is the path of the collection whose records are the rows.
	collection string
	// item is the path of one row by its key.
	item string
	// include reports whether a record of the collection is a row; nil: all are.
	include func(changes.Record) bool

	// parent is the collection that a drill-down stream follows: the key of each
	// of its records, put into the path child, gives a row. If the parent is the
	// stream's own collection, the child is the same record again.
	parent, child string
}

const (
	cycleCollection    = "/v2/cycle"
	recoveryCollection = "/v2/recovery"
	sleepCollection    = "/v2/activity/sleep"
	workoutCollection  = "/v2/activity/workout"

	bodyPath = "/v2/user/measurement/body"
)

// streams is the only place that describes streams.
var streams = []stream{
	{name: "profile", schema: "profile", key: "user_id", scopes: []string{"read:profile"}, object: whoop.ProfilePath},
	// The user_id in its key comes from the profile.
	{name: "body_measurement", schema: "body_measurement", key: "user_id", scopes: []string{"read:body_measurement", "read:profile"}, object: bodyPath},
	{name: "cycles", schema: "cycle", key: "id", scopes: []string{"read:cycles"}, collection: cycleCollection, item: "/v2/cycle/{}"},
	{name: "recovery", schema: "recovery", key: "cycle_id", scopes: []string{"read:recovery"}, collection: recoveryCollection, item: "/v2/cycle/{}/recovery"},
	{name: "sleep", schema: "sleep", key: "id", scopes: []string{"read:sleep"}, collection: sleepCollection, item: "/v2/activity/sleep/{}"},
	{name: "workout", schema: "workout", key: "id", scopes: []string{"read:workout"}, collection: workoutCollection, item: "/v2/activity/workout/{}"},
	{
		name: "cycle_by_id", schema: "cycle", key: "id", scopes: []string{"read:cycles"}, collection: cycleCollection, item: "/v2/cycle/{}",
		parent: cycleCollection, child: "/v2/cycle/{}",
	},
	{
		name: "recovery_for_cycle", schema: "recovery", key: "cycle_id", scopes: []string{"read:recovery", "read:cycles"}, collection: recoveryCollection, item: "/v2/cycle/{}/recovery",
		parent: cycleCollection, child: "/v2/cycle/{}/recovery",
	},
	{
		name: "sleep_for_cycle", schema: "sleep", key: "id", scopes: []string{"read:sleep", "read:cycles"}, collection: sleepCollection, item: "/v2/activity/sleep/{}", include: mainSleep,
		parent: cycleCollection, child: "/v2/cycle/{}/sleep",
	},
	{
		name: "sleep_by_id", schema: "sleep", key: "id", scopes: []string{"read:sleep"}, collection: sleepCollection, item: "/v2/activity/sleep/{}",
		parent: sleepCollection, child: "/v2/activity/sleep/{}",
	},
	{
		name: "workout_by_id", schema: "workout", key: "id", scopes: []string{"read:workout"}, collection: workoutCollection, item: "/v2/activity/workout/{}",
		parent: workoutCollection, child: "/v2/activity/workout/{}",
	},
}

// mainSleep excludes naps. A cycle can have several, and has one main sleep.
func mainSleep(r changes.Record) bool { return !r.Nap }

// incremental reports whether the stream has a cursor.
func (s stream) incremental() bool { return s.collection != "" }

func (s stream) id() protocol.StreamID { return protocol.StreamID{Name: s.name} }

// streamOf is the stream that has all records of a collection.
func streamOf(collection string) stream {
	return streams[slices.IndexFunc(streams, func(s stream) bool { return s.collection == collection })]
}

// collections lists the streams' collections, in the order in which they are walked.
func collections() []string {
	var all []string
	for _, s := range streams {
		if s.collection != "" && !slices.Contains(all, s.collection) {
			all = append(all, s.collection)
		}
	}
	return all
}

func streamNames() []string {
	var all []string
	for _, s := range streams {
		all = append(all, s.name)
	}
	return all
}
