package columns

import (
	"math/rand/v2"
	"net/url"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestColumnNames(t *testing.T) {
	long := strings.Repeat("x", 300)
	tests := []struct {
		name  string
		names Names
		in    []string
		want  []string
	}{
		{"lowercase letters stay", Lowercase, []string{"id", "user_id", "_ab_cdc_deleted_at", "order"}, []string{"id", "user_id", "_ab_cdc_deleted_at", "order"}},
		{"case, blanks and punctuation", Lowercase, []string{"CamelCase", "ALL CAPS", "a+1", "Foo.Bar", "grün"}, []string{"camelcase", "all_caps", "a_1", "foo_bar", "gr_n"}},
		{"leading digit", Lowercase, []string{"1st"}, []string{"_1st"}},
		{"nothing left", Lowercase, []string{"", "日本", "__"}, []string{"_e3b0c442", "___cf2abf0c", "___9911f4d2"}},
		{"300 characters", Lowercase, []string{long}, []string{strings.Repeat("x", MaxName-9) + "_0d4e2ca9"}},
		{"of equal names the one without a change wins", Lowercase, []string{"Id", "id", "ID"}, []string{"id_12156e92", "id", "id_3843971d"}},
		{"of equal names without a winner each gets a suffix", Lowercase, []string{"a b", "a.b"}, []string{"a_b_c8687a08", "a_b_2e7336dc"}},
		{"a property named as the suffix of another", Lowercase, []string{"Id", "id", "id_12156e92"}, []string{"id_01b8fa29", "id", "id_12156e92"}},
		{
			"columns of Airbyte and of Iceberg", Lowercase,
			[]string{"_airbyte_raw_id", "_AIRBYTE_x", "_pos", "pos"},
			[]string{"_airbyte_raw_id_8f649b7c", "_airbyte_x_f67d496f", "_pos_02d8def1", "pos"},
		},
		{"preserve", Preserve, []string{"CamelCase", "ALL CAPS", "a+1", "grün", "1st", "Foo.Bar", "say \"x\"", "tab\t"}, []string{"CamelCase", "ALL CAPS", "a+1", "grün", "1st", "Foo_Bar", "say _x_", "tab_"}},
		{"preserve: names that differ in case only", Preserve, []string{"Id", "id"}, []string{"Id_12156e92", "id"}},
		{"preserve: 300 characters", Preserve, []string{strings.Repeat("ü", 150)}, []string{strings.Repeat("ü", 59) + "_34e3accc"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if diff := cmp.Diff(tt.want, tt.names.columns(tt.in, true, map[string]bool{})); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestTableNamesCannotLeaveTheWarehouse(t *testing.T) {
	for in, want := range map[string][2]string{
		"sleep":          {"sleep", "sleep"},
		"Sleep-2":        {"sleep_2", "Sleep-2"},
		"..":             {"___5ec1f7e7", "___5ec1f7e7"},
		".":              {"__cdb4ee2a", "__cdb4ee2a"},
		"":               {"_e3b0c442", "_e3b0c442"},
		"/etc/passwd":    {"_etc_passwd", "_etc_passwd"},
		`..\..\x`:        {"______x", "______x"},
		"a%2e%2e/b?c#d":  {"a_2e_2e_b_c_d", "a_2e_2e_b_c_d"},
		"line\nfeed\x00": {"line_feed_", "line_feed_"},
		"søk":            {"s_k", "s_k"},
		"日本":             {"___cf2abf0c", "___cf2abf0c"},
	} {
		if got := [2]string{Lowercase.Legal(in), Preserve.Legal(in)}; got != want {
			t.Errorf("%q becomes %q, want %q", in, got, want)
		}
	}
}

func FuzzNames(f *testing.F) {
	f.Add("a", "A", "_airbyte_raw_id")
	f.Add("..", "a/b", "")
	f.Add("id", "id_3843971d", "ID")
	f.Add(strings.Repeat("x", 300), strings.Repeat("X", 300), strings.Repeat("ü", 99))
	f.Fuzz(func(t *testing.T, a, b, c string) {
		in := []string{a, b, c}
		slices.Sort(in)
		in = slices.Compact(in)
		if slices.ContainsFunc(in, func(s string) bool { return !utf8.ValidString(s) }) {
			return // no JSON string is
		}
		for _, names := range []Names{Lowercase, Preserve} {
			columns := names.columns(in, true, map[string]bool{})
			seen := map[string]bool{}
			for i, column := range columns {
				legal := !strings.ContainsAny(column, ".\"`\n\x00") && utf8.ValidString(column)
				if names == Lowercase {
					legal = strings.Trim(column, "abcdefghijklmnopqrstuvwxyz0123456789_") == ""
				}
				if !legal || column == "" || len(column) > MaxName {
					t.Errorf("%q becomes %q", in[i], column)
				}
				if key := strings.ToLower(column); seen[key] || slices.Contains([]string{"_airbyte_raw_id", "_airbyte_extracted_at", "_airbyte_meta", "_airbyte_generation_id"}, key) {
					t.Errorf("%q become %q", in, columns)
				} else {
					seen[key] = true
				}
				if table := names.Legal(in[i]); table == "" || len(table) > MaxName || url.PathEscape(table) != table || strings.ContainsAny(table, ".:") {
					t.Errorf("%q becomes table %q", in[i], table)
				}
			}
			order := rand.Perm(len(in))
			shuffled, want := make([]string, len(in)), make([]string, len(in))
			for i, j := range order {
				shuffled[i], want[i] = in[j], columns[j]
			}
			if diff := cmp.Diff(want, names.columns(shuffled, true, map[string]bool{})); diff != "" {
				t.Errorf("depends on the order: %s", diff)
			}
		}
	})
}
