package report

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"html"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/charts"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
)

// hostile is a text that would be more than text in a page, a script, a style or an
// attribute.
const hostile = `</script></style><img src=x onerror="alert(1)">' --> ` + "`${x}`" + ` & ` + "\u2028\u202e"

// fill puts a text into every text of a value, with one entry in every list.
func fill(v reflect.Value, text string) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(text)
	case reflect.Int, reflect.Int64:
		v.SetInt(1234567)
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Float64:
		v.SetFloat(0.5)
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			v.Set(reflect.ValueOf(time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)))
			return
		}
		for i := range v.NumField() {
			fill(v.Field(i), text)
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			fill(v.Index(i), text)
		}
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), text)
	}
}

// pages are pages that show everything that a page can show.
func pages(text string) (all []Page) {
	var p Page
	fill(reflect.ValueOf(&p).Elem(), text)
	all = append(all, p)
	var without Page // of what is there only if something else is not
	fill(reflect.ValueOf(&without).Elem(), text)
	for i := range without.Charts {
		without.Charts[i].Error = ""
	}
	for i := range without.Tables {
		t := &without.Tables[i]
		t.Error, t.Maintenance.Unknown, t.Changes.Kinds, t.FileSizes = "", "", nil, t.FileSizes[:1]
	}
	return append(all, without, Page{})
}

func written(t *testing.T, p Page, secrets ...string) string {
	t.Helper()
	var of redact.Redactor
	of.Add(secrets...)
	var out strings.Builder
	if err := Write(&out, p, &of); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

var tags = regexp.MustCompile(`<[^>]*>`)

// Names and values are text, whatever they contain: a page has the same tags with any.
func TestValuesAreText(t *testing.T) {
	plain := pages("x")
	for i, p := range pages(hostile) {
		page := written(t, p)
		var drawn map[string]charts.Chart
		if err := json.Unmarshal([]byte(data.FindStringSubmatch(page)[1]), &drawn); err != nil {
			t.Errorf("page %d: %v", i, err)
		}
		for id, c := range drawn {
			if c.Title != hostile || c.Lines[1].Label != hostile || len(c.Times) != 2 {
				t.Errorf("page %d: chart %s is %+v", i, id, c)
			}
		}
		if want := 2*len(p.Tables) + len(p.Charts); len(drawn) != want {
			t.Errorf("page %d: %d charts, not %d", i, len(drawn), want)
		}
		page = data.ReplaceAllString(page, "")
		if got, want := tags.FindAllString(attributes.ReplaceAllString(page, ""), -1), tags.FindAllString(attributes.ReplaceAllString(data.ReplaceAllString(written(t, plain[i]), ""), ""), -1); !reflect.DeepEqual(got, want) {
			t.Errorf("page %d: there are %d tags, not %d", i, len(got), len(want))
		}
		if strings.Contains(page, "<img") || strings.ContainsRune(page, '\u202e') {
			t.Errorf("page %d: a value is more than text", i)
		}
	}
}

// attributes with texts of others, and the breaks in names.
var attributes = regexp.MustCompile(`aria-label="[^"]*"|<wbr>`)

func TestNoSecretOfAValueIsWritten(t *testing.T) {
	for i, p := range pages("of a secret, " + strings.Repeat("x", shownState-20) + "hunter-two") {
		if page := written(t, p, "hunter-two"); strings.Contains(page, "hunter") {
			t.Errorf("page %d has the secret", i)
		}
	}
}

var (
	policyTag = regexp.MustCompile(`<meta http-equiv="Content-Security-Policy" content="([^"]*)">`)
	data      = regexp.MustCompile(`(?s)<script type="application/json" id="drawn">(.*?)</script>`)
	inline    = regexp.MustCompile(`(?s)<(script|style)>(.*?)</(script|style)>`)
)

// The policy allows the page's own scripts and styles, and nothing else.
func TestThePolicyHasTheHashes(t *testing.T) {
	page := written(t, pages("x")[0])
	policy := html.UnescapeString(policyTag.FindStringSubmatch(page)[1])
	found := inline.FindAllStringSubmatch(page, -1)
	for _, part := range found {
		sum := sha256.Sum256([]byte(part[2]))
		if want := "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"; !strings.Contains(policy, want) {
			t.Errorf("the policy %s has not %s of %s", policy, want, part[1])
		}
	}
	if n := strings.Count(policy, "sha256-"); n != len(found) || n != strings.Count(page, "<script>")+strings.Count(page, "<style>") || n == 0 {
		t.Errorf("%d parts, and the policy is %s", len(found), policy)
	}
	for _, outside := range []string{"unsafe", "http:", "https:", "*"} {
		if strings.Contains(policy, outside) {
			t.Errorf("the policy %s allows %s", policy, outside)
		}
	}
	page = inline.ReplaceAllString(page, "")
	if strings.Contains(page, " style=") || strings.Contains(page, "http://") || strings.Contains(page, "https://") || regexp.MustCompile(`\son[a-z]+=`).MatchString(page) {
		t.Error("the page has what the policy does not allow")
	}
}

// uPlot is as version 1.6.32 of the package uplot on npm has it.
func TestTheChartingLibraryIsUnchanged(t *testing.T) {
	if page := written(t, Page{}); !strings.Contains(page, "Copyright (c) 2022 Leon Sorokin") || !strings.Contains(page, uplotJS) {
		t.Error("the page has not the library with its licence")
	}
	for text, want := range map[string]string{
		uplotJS:  "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
		uplotCSS: "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",

		uplotLicence: "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
	} {
		if sum := sha256.Sum256([]byte(text)); hex.EncodeToString(sum[:]) != want {
			t.Errorf("%.60s… has the hash %x", text, sum)
		}
	}
}
