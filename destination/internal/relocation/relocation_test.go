package relocation

import "testing"

func TestWhereAFileIsAfterAMove(t *testing.T) {
	for _, tc := range []struct{ from, to, before, want string }{
		{"/lake", "/moved", "file:///lake/t/data/a.parquet", "file:///moved/t/data/a.parquet"},
		{"file:///lake/", "file:///moved/", "/lake/t", "file:///moved/t"},
		{"/lake", "/moved", "file:/lake/t", "file:///moved/t"},
		{"/lake", "/", "file:///lake/t", "file:///t"},
		{"/", "/moved", "file:///t", "file:///moved/t"},
		{"/lake", "/moved", "file:///lake2/t", "file:///lake2/t"},
		{"s3://a", "s3://b", "s3://a/t/data/x", "s3://b/t/data/x"},
		{"s3://a/lake", "s3://b/other/lake", "s3://a/lake/t", "s3://b/other/lake/t"},
		{"s3a://a/lake/", "s3://b", "s3n://a/lake/t", "s3://b/t"},
		{"s3://a/lake", "s3://b/lake", "s3://a/lake2/t", "s3://a/lake2/t"},
		{"s3://a/lake", "s3://b/lake", "s3://ab/lake/t", "s3://ab/lake/t"},
		{"s3://a/lake", "s3://b/lake", "s3://a/lake/v=a%2Fb/x", "s3://b/lake/v=a%2Fb/x"}, // a key is no path with escapes
		{"/lake", "s3://b/lake", "file:///lake/t", "s3://b/lake/t"},
		{"s3://b/lake", "/lake", "s3://b/lake/t", "file:///lake/t"},
		{"s3://a/lake", "s3://b/lake", "gs://a/lake/t", "gs://a/lake/t"},
	} {
		if got := NewMove(tc.from, tc.to).Location(tc.before); got != tc.want {
			t.Errorf("moved from %s to %s, %s is at %s, want %s", tc.from, tc.to, tc.before, got, tc.want)
		}
	}
}

// A bound that does not hold for the new paths would hide deletes from readers.
func TestBoundsOfPathsHoldAfterAMove(t *testing.T) {
	const last = "\U0010FFFF"
	for name, tc := range map[string]struct{ lower, upper, wantLower, wantUpper string }{
		"whole":                  {"s3://a/lake/t/1", "s3://a/lake/t/2", "s3://b/t/1", "s3://b/t/2"},
		"cut in the directory":   {"s3://a/la", "s3://a/lb", "", last},
		"cut below it":           {"s3://a/lake/", "s3://a/lake/u", "s3://b/", "s3://b/u"},
		"of files elsewhere too": {"s3://a/aside/1", "s3://a/lake/t/2", "", last},
		"of another scheme":      {"s3a://a/la", "s3a://a/lb", "", last},
	} {
		t.Run(name, func(t *testing.T) {
			bound := func(value string) any {
				return []any{map[string]any{"key": int32(pathFieldID), "value": []byte(value)}, map[string]any{"key": int32(1), "value": []byte("s3://a/lake/x")}}
			}
			file := map[string]any{"lower_bounds": bound(tc.lower), "upper_bounds": bound(tc.upper)}
			w := &writer{move: NewMove("s3://a/lake", "s3://b")}
			w.updateBounds(file)
			for key, want := range map[string]string{"lower_bounds": tc.wantLower, "upper_bounds": tc.wantUpper} {
				bounds := objects(file[key])
				if got := pathBound(bounds[0]); got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
				if got := pathBound(bounds[1]); got != "s3://a/lake/x" {
					t.Errorf("of another column %s is %q", key, got)
				}
			}
		})
	}
}
