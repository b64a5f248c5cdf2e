package spec

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// A setting with two forms, one of which has a default.
type (
	vehicle interface{ wheels() int }
	car     struct {
		Doors int `json:"doors,omitempty" jsonschema:"title=Doors"`
	}
	bike struct {
		Bell string `json:"bell" jsonschema:"required,title=Bell" jsonschema_extras:"airbyte_secret=true"`
	}
)

func (*car) wheels() int  { return 4 }
func (*bike) wheels() int { return 2 }

var vehicles = Forms[vehicle]{
	{"car", "A car", func() vehicle { return &car{Doors: 3} }},
	{"bike", "A bike", func() vehicle { return &bike{} }},
}

func TestFormsAreAOneOf(t *testing.T) {
	got, err := json.Marshal(vehicles.Schema())
	if err != nil {
		t.Fatal(err)
	}
	want := `{"oneOf":[` +
		`{"properties":{"type":{"type":"string","const":"car"},"doors":{"type":"integer","title":"Doors","order":0}},"additionalProperties":true,"type":"object","required":["type"],"title":"A car"},` +
		`{"properties":{"type":{"type":"string","const":"bike"},"bell":{"type":"string","title":"Bell","airbyte_secret":true,"order":0}},"additionalProperties":true,"type":"object","required":["type","bell"],"title":"A bike"}` +
		`],"type":"object"}`
	if diff := cmp.Diff(want, string(got)); diff != "" {
		t.Error(diff)
	}
}

func TestAFormIsDecodedByItsType(t *testing.T) {
	for raw, want := range map[string]vehicle{`{"doors":5}`: &car{5}, "": &car{3}, `{"type":"car"}`: &car{3}} {
		if got, found, err := vehicles.decode("car", json.RawMessage(raw)); err != nil || !found || !cmp.Equal(got, want) {
			t.Errorf("%s became %v, %v", raw, got, err)
		}
	}
	if _, found, err := vehicles.decode("boat", nil); found || err != nil {
		t.Errorf("there is a boat: %v", err)
	}
	if _, _, err := vehicles.decode("car", json.RawMessage(`{"doors":"many"}`)); !errors.As(err, new(*json.UnmarshalTypeError)) {
		t.Errorf("error %v", err)
	}
}

// What is chosen is decoded from the configuration, with the default type where it has none.
func TestTheChosenForm(t *testing.T) {
	for raw, want := range map[string]vehicle{`{"doors":5}`: &car{5}, `{"type":"bike","bell":"x"}`: &bike{"x"}, `{"TYPE":"bike"}`: &bike{}} {
		choice := Choice{Type: "car"}
		if err := vehicles.Unmarshal([]byte(raw), &choice); err != nil {
			t.Errorf("%s: %v", raw, err)
		}
		if got, err := vehicles.Chosen("vehicle", choice); err != nil || !cmp.Equal(got, want) {
			t.Errorf("%s became %v, %v", raw, got, err)
		}
	}
	for _, raw := range []string{`{"type":1}`, `{"doors":"many"}`, `[]`} {
		if err := vehicles.Unmarshal([]byte(raw), &Choice{Type: "car"}); !errors.As(err, new(*json.UnmarshalTypeError)) {
			t.Errorf("%s: error %v", raw, err)
		}
	}
}

func TestWhatIsOfNoFormNamesTheRemedy(t *testing.T) {
	for _, tc := range []struct{ formType, raw, want string }{
		{"car", `{"type":"car","doors":4}`, ""},
		{"car", ``, ""},
		{"car", `{"wings":2,"bell":""}`, ""}, // unknown keys are for others to warn of; an empty one is not meant
		{"bikes", `{}`, `The configuration's "vehicle.type" is "bikes". Did you mean "bike"? The vehicle types are: bike, car.`},
		{"boat", `{}`, `The configuration's "vehicle.type" is "boat". The vehicle types are: bike, car.`},
		{"car", `{"Bell":"x"}`, `The configuration has a "vehicle.Bell", and its "vehicle.type" is "car", the default. Set it to "bike", or remove "vehicle.Bell".`},
		{"bike", `{"type":"bike","doors":4}`, `is "bike". Set it to "car"`},
	} {
		_, err := vehicles.Chosen("vehicle", Choice{Type: tc.formType, raw: json.RawMessage(tc.raw)})
		if tc.want == "" && err == nil {
			continue
		}
		if e := (*protocol.Error)(nil); !errors.As(err, &e) || e.Kind != protocol.ConfigError || !strings.Contains(e.Message, tc.want) || tc.want == "" {
			t.Errorf("%s %s: error %v", tc.formType, tc.raw, err)
		}
	}
}

// The key that names the form need not be "type".
func TestAKeyNamesTheForm(t *testing.T) {
	if key := vehicles.SchemaBy("mode").OneOf[1].Properties.Oldest(); key.Key != "mode" || key.Value.Const != "bike" {
		t.Errorf("the first property is %s: %v", key.Key, key.Value.Const)
	}
	for raw, want := range map[string]string{
		`{"mode":"bike"}`:           "",
		`{"mode":"boat"}`:           `The configuration's "vehicle.mode" is "boat". The vehicle modes are: bike, car.`,
		`{"mode":"bike","doors":4}`: `and its "vehicle.mode" is "bike". Set it to "car"`,
		`{"bell":"x"}`:              `and its "vehicle.mode" is "car", the default. Set it to "bike"`,
	} {
		choice := Choice{Key: "mode", Type: "car"}
		err := vehicles.Unmarshal([]byte(raw), &choice)
		if err == nil {
			_, err = vehicles.Chosen("vehicle", choice)
		}
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", raw, err)
		}
	}
}
