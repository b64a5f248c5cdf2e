package main

import (
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

func TestCompletion(t *testing.T) {
	type want struct {
		keep extent
		fail bool
	}
	overwrite := func(e ending) ending { e.replacesRows = true; return e }
	for _, tt := range []struct {
		name   string
		ending ending
		want   map[Completion]want // the missing ones are as for strict
	}{
		{
			"COMPLETE proves an overwrite", overwrite(ending{status: protocol.Complete, anyStatus: true}),
			map[Completion]want{strict: {everything, false}},
		},
		{
			"INCOMPLETE never does", overwrite(ending{status: protocol.Incomplete, anyStatus: true, states: true}),
			map[Completion]want{strict: {nothing, true}},
		},
		{
			"a missing status fails where others came", overwrite(ending{anyStatus: true, states: true}),
			map[Completion]want{strict: {nothing, true}},
		},
		{
			"no statuses, a state last", overwrite(ending{states: true}),
			map[Completion]want{strict: {nothing, true}, stateHint: {everything, false}, endOfInput: {everything, false}},
		},
		{
			"no statuses, generations promise them", overwrite(ending{states: true, generations: true}),
			map[Completion]want{strict: {nothing, true}, stateHint: {nothing, true}, endOfInput: {everything, false}},
		},
		{
			"no statuses, records last", overwrite(ending{states: true, uncovered: 3}),
			map[Completion]want{strict: {nothing, true}, stateHint: {nothing, true}, endOfInput: {everything, false}},
		},
		{
			"no statuses, no states", overwrite(ending{uncovered: 3}),
			map[Completion]want{strict: {nothing, true}, stateHint: {nothing, true}, endOfInput: {everything, false}},
		},
		{
			"interrupted overwrite", overwrite(ending{status: protocol.Complete, interrupted: true}),
			map[Completion]want{strict: {nothing, false}},
		},

		{
			"COMPLETE proves a refresh",
			ending{refreshes: true, generations: true, status: protocol.Complete, anyStatus: true},
			map[Completion]want{strict: {everything, false}},
		},
		{
			"a refresh without proof keeps what states cover for the next attempt",
			ending{refreshes: true, generations: true, states: true},
			map[Completion]want{strict: {toState, true}, stateHint: {toState, true}, endOfInput: {everything, false}},
		},
		{
			"INCOMPLETE never proves a refresh",
			ending{refreshes: true, generations: true, states: true, status: protocol.Incomplete, anyStatus: true},
			map[Completion]want{strict: {toState, true}},
		},
		{
			"COMPLETE keeps rows after the last state",
			ending{status: protocol.Complete, anyStatus: true, states: true, uncovered: 3},
			map[Completion]want{strict: {everything, false}},
		},
		{
			"INCOMPLETE keeps what states cover",
			ending{status: protocol.Incomplete, anyStatus: true, states: true, uncovered: 3},
			map[Completion]want{strict: {toState, true}},
		},
		{
			"append without statuses, a state last",
			ending{states: true},
			map[Completion]want{strict: {toState, true}, stateHint: {everything, false}, endOfInput: {everything, false}},
		},
		{
			"append cut off after a state",
			ending{states: true, uncovered: 3},
			map[Completion]want{strict: {toState, true}, stateHint: {toState, true}, endOfInput: {everything, false}},
		},
		{
			"append of bare records",
			ending{uncovered: 3},
			map[Completion]want{strict: {toState, true}, stateHint: {everything, false}, endOfInput: {everything, false}},
		},
		{
			"interrupted append keeps what states cover",
			ending{states: true, uncovered: 3, interrupted: true},
			map[Completion]want{strict: {toState, false}},
		},
	} {
		for _, c := range []Completion{strict, stateHint, endOfInput} {
			t.Run(tt.name+"/"+string(c), func(t *testing.T) {
				w, ok := tt.want[c]
				if !ok {
					w = tt.want[strict]
				}
				v := c.judge(protocol.StreamID{Name: "s"}, tt.ending)
				if v.keep != w.keep || (v.err != nil) != w.fail {
					t.Errorf("keeps %d, error %v; want %d, failure %t", v.keep, v.err, w.keep, w.fail)
				}
			})
		}
	}
}
