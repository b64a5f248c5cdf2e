package sandbox

import "github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"

var pageScenarios = []Scenario{
	{
		Name: "keyset-tokens", About: "Page tokens name the last record, so that inserts and deletes do not shift pages.",
		Profile: Profile{KeysetTokens: true},
	},
	{
		Name: "last-token-omitted", About: "The last page of every collection has no next_token.",
		Profile: Profile{LastToken: LastTokenOmitted},
	},
	{
		Name: "last-token-null", About: "The last page of every collection has a next_token of null.",
		Profile: Profile{LastToken: LastTokenNull},
	},
	{
		Name: "last-token-empty", About: `The last page of every collection has a next_token of "".`,
		Profile: Profile{LastToken: LastTokenEmpty},
	},
	{
		Name: "token-after-full-page", About: "A last page that is exactly full has a token, which leads to an empty page.",
		Profile: Profile{TokenAfterFullPage: true},
	},
	{
		Name: "empty-pages", About: "Every other page is empty, with a token that leads on.",
		Profile: Profile{EmptyPages: true},
	},
	{
		Name: "short-pages", About: "Pages hold half of the limit, with a token that leads on.",
		Profile: Profile{ShortPages: true},
	},
	{
		Name: "repeated-token", About: "The token of the second page leads to the second page, forever.",
		Profile: Profile{RepeatedToken: true},
	},
	{
		Name: "page-tokens-expire", About: "A page token is refused with 400 when it is a minute old.",
		Profile: Profile{PageTokenTTL: minutes},
	},
	{
		Name: "page-token-refused", About: "The third page token is refused with 400, once.",
		Faults: []Fault{{Path: apiPath, Query: "nextToken", Skip: 2, Action: Replace, Status: 400}},
	},
	{
		Name: "window-bound-tokens", About: "A page token with another start or end is refused with 400; otherwise its position is taken in the other window.",
		Profile: Profile{WindowBoundTokens: true},
	},
	{
		Name: "limit-refused", About: "A limit above 25 is refused with 400.",
		Profile: Profile{LimitRefused: true},
	},
	{
		Name: "dates-ignored", About: "A malformed start or end counts as absent.",
		Profile: Profile{DatesIgnored: true},
	},
	{
		Name: "exclusive-start", About: "A record that ends at start itself is left out.",
		Profile: Profile{ExclusiveStart: true},
	},
	{
		Name: "inclusive-end", About: "A record that begins at end itself is included.",
		Profile: Profile{InclusiveEnd: true},
	},
}

// Mutations while paging happen between the first and the second request.
var betweenPages = Profile{Tick: 10 * seconds}

const afterFirstPage = 15 * seconds

var recordScenarios = []Scenario{
	{
		Name: "insert-at-head-while-paging", About: "A workout appears before all others between two pages.",
		Profile: betweenPages, Events: []member.Event{{After: afterFirstPage, Do: member.Insert, Stream: "workout", Length: 10 * seconds}},
	},
	{
		Name: "insert-in-the-middle-while-paging", About: "A workout of ten days ago appears between two pages.",
		Profile: betweenPages, Events: []member.Event{{After: afterFirstPage, Do: member.Insert, Stream: "workout", Age: 10 * days}},
	},
	{
		Name: "delete-while-paging", About: "A workout of the first page is deleted between two pages.",
		Profile: betweenPages, Events: []member.Event{{After: afterFirstPage, Do: member.Delete, Stream: "workout", Age: 2 * days}},
	},
	{
		Name: "rescore-while-paging", About: "A workout of the first page gets another score between two pages.",
		Profile: betweenPages, Events: []member.Event{{After: afterFirstPage, Do: member.Rescore, Stream: "workout", Age: 2 * days}},
	},
	{
		Name: "move-while-paging", About: "A workout moves from the first page to a later one between the two.",
		Profile: betweenPages, Events: []member.Event{{After: afterFirstPage, Do: member.Edit, Stream: "workout", Age: 2 * days, Shift: -12 * days}},
	},
	{
		Name: "order-ties", About: "Two workouts begin at the same instant.",
		Events: []member.Event{{Do: member.Twin, Stream: "workout", Age: 3 * days}},
	},
	{
		Name: "late-score", About: "A workout's score is pending for 30 hours.",
		Events: []member.Event{{Do: member.Insert, Stream: "workout", Age: hours, Pending: 30 * hours}},
	},
	{
		Name: "late-unscorable", About: "A nap's score is pending for 6 hours, then there is none.",
		Events: []member.Event{{Do: member.Insert, Stream: "sleep", Age: hours, Pending: 6 * hours, State: member.Unscorable}},
	},
	{
		Name: "unknown-score-state", About: "A sleep is in a score state that no document names.",
		Events: []member.Event{{Do: member.SetState, Stream: "sleep", Age: 2 * days, State: "PROVISIONAL"}},
	},
	{
		Name: "zero-scores", About: "Every number of a workout's score is 0.",
		Events: []member.Event{{Do: member.Zero, Stream: "workout", Age: 2 * days}},
	},
	{
		Name: "cycle-rescored", About: "A cycle of three days ago gets another score.",
		Events: []member.Event{{Do: member.Rescore, Stream: "cycles", Age: 3 * days}},
	},
	{
		Name: "recovery-rescored", About: "A recovery of three days ago gets another score.",
		Events: []member.Event{{Do: member.Rescore, Stream: "recovery", Age: 3 * days}},
	},
	{
		Name: "silent-rescore", About: "A sleep of two days ago gets another score, but no new updated_at.",
		Events: []member.Event{{Do: member.Rescore, Stream: "sleep", Age: 2 * days, Silent: true}},
	},
	{
		Name: "sleep-moved", About: "The sleep of three days ago moves back by two hours, with its cycles and recovery.",
		Events: []member.Event{{Do: member.Edit, Stream: "sleep", Age: 3 * days, Shift: -2 * hours}},
	},
	{
		Name: "sleep-deleted", About: "The sleep of three days ago is deleted, and its recovery with it.",
		Events: []member.Event{{Do: member.Delete, Stream: "sleep", Age: 3 * days}},
	},
	{
		Name: "sleep-recreated", About: "The main sleep of three days ago gets a new id under its cycle, and the recovery changes over.",
		Events: []member.Event{{Do: member.Recreate, Stream: "sleep", Age: 3 * days}},
	},
	{
		Name: "nap-flips", About: "A nap turns into a sleep, and back after an hour.",
		Events: []member.Event{
			{Do: member.Insert, Stream: "sleep", Age: 2 * hours},
			{Do: member.FlipNap, Stream: "sleep", After: hours, Age: 3 * hours},
			{Do: member.FlipNap, Stream: "sleep", After: 2 * hours, Age: 4 * hours},
		},
	},
	{
		Name: "cycle-deleted", About: "The cycle of three days ago is gone, with its sleeps and recovery.",
		Events: []member.Event{{Do: member.Delete, Stream: "cycles", Age: 3 * days}},
	},
	{
		Name: "workout-back-dated", About: "A workout of 30 days ago is entered by hand.",
		Events: []member.Event{{Do: member.Insert, Stream: "workout", Age: 30 * days}},
	},
	{
		Name: "old-record-edited", About: "The sleep of 200 days ago gets other bounds and scores.",
		Events: []member.Event{{Do: member.Edit, Stream: "sleep", Age: 200 * days, Shift: -20 * minutes}},
	},
	{
		Name: "extra-fields", About: "Records and pages have fields that no document names.",
		Profile: Profile{Shape: member.Shape{ExtraFields: true}},
	},
	{
		Name: "no-legacy-ids", About: "Records have neither v1_id nor sport_id.",
		Profile: Profile{Shape: member.Shape{NoLegacyIDs: true}},
	},
	{
		Name: "missing-values-null", About: "A score or an end that is not there is null.",
		Profile: Profile{Shape: member.Shape{MissingValues: member.MissingNull}},
	},
	{
		Name: "missing-values-absent", About: "A score or an end that is not there is left out.",
		Profile: Profile{Shape: member.Shape{MissingValues: member.MissingAbsent}},
	},
}
