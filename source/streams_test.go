package main

import (
	"slices"
	"strings"
	"testing"
)

func TestStreamsNeedTheseScopes(t *testing.T) {
	var scopes []string
	for _, s := range consentStreams() {
		scopes = append(scopes, s.Scopes...)
	}
	slices.Sort(scopes)
	want := strings.Fields("read:body_measurement read:cycles read:profile read:recovery read:sleep read:workout")
	if got := slices.Compact(scopes); !slices.Equal(got, want) {
		t.Errorf("%v", got)
	}
}

// People read how far the stream has come, not the path at WHOOP.
func TestACollectionIsCalledAsItsStream(t *testing.T) {
	var names []string
	for _, c := range collections() {
		names = append(names, streamOf(c).name)
	}
	wantEqual(t, "names", strings.Join(names, " "), "cycles recovery sleep workout")
}
