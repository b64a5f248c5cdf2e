package nearest

import "testing"

func TestTheNearestNameIsFound(t *testing.T) {
	names := []string{"start", "end", "score.state", "user_id", "id"}
	for typed, want := range map[string]string{
		"satrt": "start", "Start": "start", "stat": "start", "ends": "end", "score.stat": "score.state", "userid": "user_id", "idd": "id",
		"": "", "zzzzzz": "", "beginning": "", "score": "", "*": "", "ix": "id", "ID": "id",
	} {
		if got := Name(typed, names); got != want {
			t.Errorf("the nearest name to %q is %q, want %q", typed, got, want)
		}
	}
}

func TestTheDistanceOfTwoTexts(t *testing.T) {
	for _, tc := range []struct {
		a, b string
		want int
	}{
		{"", "", 0}, {"", "ab", 2}, {"ab", "", 2}, {"ab", "ab", 0}, {"ab", "ba", 1}, {"abc", "axc", 1}, {"kitten", "sitting", 3},
	} {
		if got := distance(tc.a, tc.b); got != tc.want {
			t.Errorf("the distance of %q and %q is %d, want %d", tc.a, tc.b, got, tc.want)
		}
	}
}
