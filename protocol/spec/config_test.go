package spec_test

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
)

type config struct {
	Password string      `json:"password" jsonschema:"required" jsonschema_extras:"airbyte_secret=true"`
	Pages    int         `json:"pages"`
	Tags     []string    `json:"tags"`
	Auth     *authConfig `json:"auth"`
}

type authConfig struct {
	Token string `json:"token" jsonschema_extras:"airbyte_secret=true"`
}

func TestWarningsNameKeysThatHaveNoEffect(t *testing.T) {
	got := spec.UnknownKeys(spec.Reflect(&config{}, "Test"), json.RawMessage(
		`{"pasword":"x","Password":"secret","_internal":1,"else":0,"auth":{"tokn":"","token":"t"},"tags":["a"],"auth.token":"secret","auth.x":1,"tags.0":1}`))
	want := []string{
		`The configuration's key "auth.tokn" is not known and has no effect. Did you mean "token"?`,
		`The configuration's key "auth.token" is not known and has no effect. Write {"auth": {"token": "…"}}.`,
		`The configuration's key "auth.x" is not known and has no effect. Did you mean "auth"?`,
		`The configuration's key "else" is not known and has no effect. See the output of spec for the keys there are.`,
		`The configuration's key "pasword" is not known and has no effect. Did you mean "password"?`,
		`The configuration's key "tags.0" is not known and has no effect. Did you mean "tags"?`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestDecodeConfig(t *testing.T) {
	defaults := func() config { return config{Pages: 3, Tags: []string{"d"}, Auth: &authConfig{Token: "d"}} }
	got := defaults()
	if err := spec.DecodeConfig(json.RawMessage(`{"password":"p","pages":null,"tags":null,"auth":null,"other":{"x":null}}`), &got); err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Password = "p"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nulls change defaults (-want +got):\n%s", diff)
	}
	for raw, want := range map[string]string{
		`{"pages":"many"}`:            `The configuration's "pages" is of type string but must be of type integer.`,
		`{"auth":{"token":12345678}}`: `The configuration's "auth.token" is of type number but must be of type string.`,
		`{"tags":{}}`:                 `The configuration's "tags" is of type object but must be of type array.`,
		`{"pages":1} {}`:              `The configuration cannot be read: invalid character '{' after top-level value`,
	} {
		err := spec.DecodeConfig(json.RawMessage(raw), &config{})
		var e *protocol.Error
		if !errors.As(err, &e) || e.Kind != protocol.ConfigError || e.Message != want || strings.Contains(err.Error(), "12345678") {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
}

type place struct {
	Region string `json:"region"`
}

// The structs that a program's fields are embedded in are no part of the path.
func TestErrorsNameKeysAsTheyAreWritten(t *testing.T) {
	type target struct {
		place
		Tables []struct {
			place
		} `json:"tables"`
	}
	for raw, want := range map[string]string{
		`{"region":5}`:                   `"region"`,
		`{"warehouse":{"region":5}}`:     `"warehouse.region"`,
		`{"WAREHOUSE":{"Region":[]}}`:    `"warehouse.region"`,
		`{"warehouse":{"tables":{}}}`:    `"warehouse.tables"`,
		`{"warehouse":{"tables":["x"]}}`: `"warehouse.tables"`,
	} {
		var c struct {
			place
			Warehouse target `json:"warehouse"`
		}
		err := spec.DecodeConfig(json.RawMessage(raw), &c)
		var e *protocol.Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, "The configuration's "+want+" is of type") {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
}

// All values of a wrong type are named, and what else is wrong, but not what only follows.
func TestEveryFaultIsNamed(t *testing.T) {
	raw := json.RawMessage(`{"password":5,"pages":"many","tags":["a"],"Auth":{"token":[]},"else":1}`)
	var c config
	decoding := spec.DecodeConfig(raw, &c)
	var wrong spec.WrongTypes
	if !errors.As(decoding, &wrong) || len(wrong) != 3 || len(c.Tags) != 1 {
		t.Fatalf("error %v, configuration %+v", decoding, c)
	}
	err := spec.JoinFaults(decoding, nil, protocol.ConfigError.Errorf(nil, `The configuration has no "password".`),
		protocol.ConfigError.Errorf(nil, `The configuration's "else" is 1.`), protocol.ConfigError.Errorf(nil, `The configuration's "pages.first" is missing.`))
	want := `The configuration's "auth.token" is of type array but must be of type string. The configuration's "pages" is of type string but must be of type integer. ` +
		`The configuration's "password" is of type number but must be of type string. The configuration's "else" is 1.`
	var e *protocol.Error
	if !errors.As(err, &e) || e.Kind != protocol.ConfigError || e.Message != want {
		t.Errorf("error %v, want %s", err, want)
	}
}

func TestReflect(t *testing.T) {
	got, err := json.MarshalIndent(spec.Reflect(&config{}, "Test"), "", "  ")
	if err != nil {
		t.Fatal(err)
	}
	want, err := os.ReadFile("testdata/reflect.json")
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)+"\n"); diff != "" {
		t.Errorf("schema (-want +got):\n%s", diff)
	}
}

type limitedConfig struct {
	Days  int      `json:"days" jsonschema:"title=Days,default=7,minimum=0,maximum=365"`
	Rate  float64  `json:"rate" jsonschema:"minimum=0.5"`
	Level int      `json:"level" jsonschema:"maximum=9"`
	Mode  string   `json:"mode" jsonschema:"enum=fast,enum=safe"`
	Free  string   `json:"free"`
	Inner []nested `json:"inner"`
}

type nested struct {
	Mode string `json:"mode" jsonschema:"enum=on,enum=off"`
}

func (limitedConfig) Descriptions() map[string]string {
	return map[string]string{"days": "How many days, in a sentence with a comma."}
}

func TestCheckConfig(t *testing.T) {
	for raw, want := range map[string]string{
		`{"days":0,"rate":0.5,"level":9,"mode":"safe","free":"x"}`: "",
		`{"days":365,"rate":1e9,"level":-5,"mode":null}`:           "",
		`{"days":-1}`:                   `The configuration's "days" is -1. It must be from 0 to 365.`,
		`{"DAYS":366}`:                  `The configuration's "DAYS" is 366. It must be from 0 to 365.`,
		`{"rate":1e-12,"level":10}`:     `The configuration's "level" is 10. It must be at most 9. The configuration's "rate" is 1e-12. It must be at least 0.5.`,
		`{"mode":"quick"}`:              `The configuration's "mode" is "quick". It must be one of fast, safe.`,
		`{"mode":"Fats"}`:               `The configuration's "mode" is "Fats". It must be one of fast, safe. Did you mean "fast"?`,
		`{"mode":"saef"}`:               `The configuration's "mode" is "saef". It must be one of fast, safe. Did you mean "safe"?`,
		`{"mode":"SAVE"}`:               `The configuration's "mode" is "SAVE". It must be one of fast, safe. Did you mean "safe"?`,
		`{"mode":"fasst"}`:              `The configuration's "mode" is "fasst". It must be one of fast, safe. Did you mean "fast"?`,
		`{"mode":""}`:                   `The configuration's "mode" is "". It must be one of fast, safe.`,
		`{"inner":[{"mode":"?"}]}`:      `The configuration's "inner.0.mode" is "?". It must be one of on, off.`,
		`{"inner":[{"mode":"?"}]} junk`: "",
	} {
		err := spec.CheckConfig(json.RawMessage(raw), limitedConfig{})
		var e *protocol.Error
		if want == "" {
			if err != nil {
				t.Errorf("%s: %v", raw, err)
			}
		} else if !errors.As(err, &e) || e.Kind != protocol.ConfigError || e.Message != want {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
}

func TestDescriptionsAreAMethodOfTheStruct(t *testing.T) {
	s := spec.Reflect(limitedConfig{}, "Test")
	if p, _ := s.Properties.Get("days"); p.Description != "How many days, in a sentence with a comma." {
		t.Errorf("description %q", p.Description)
	}
	if p, _ := s.Properties.Get("mode"); p.Description != "" {
		t.Errorf("description %q", p.Description)
	}
}
