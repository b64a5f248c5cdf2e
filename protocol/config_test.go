package protocol_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

func TestWarningsNameKeysThatHaveNoEffect(t *testing.T) {
	s := source{check: func(context.Context, json.RawMessage, *protocol.Emitter) error { return nil }}
	c := protocoltest.File(t, "\ufeff"+`{"pasword":"x","Password":"secret","_internal":1,"auth":{"tokn":"","token":"t"},"tags":["a"]}`)
	var got []string
	for _, m := range protocoltest.Source(t, s, "check", "--config", c).Messages {
		if m.Type == "LOG" {
			got = append(got, m.Log.Message)
		}
	}
	want := []string{
		`The configuration's key "auth.tokn" is not known and has no effect. See the output of spec for the keys there are.`,
		`The configuration's key "pasword" is not known and has no effect. See the output of spec for the keys there are.`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("warnings (-want +got):\n%s", diff)
	}
}

func TestDecodeConfig(t *testing.T) {
	defaults := func() config { return config{Pages: 3, Tags: []string{"d"}, Auth: &authConfig{Token: "d"}} }
	got := defaults()
	if err := protocol.DecodeConfig(json.RawMessage(`{"password":"p","pages":null,"tags":null,"auth":null,"other":{"x":null}}`), &got); err != nil {
		t.Fatal(err)
	}
	want := defaults()
	want.Password = "p"
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("nulls change defaults (-want +got):\n%s", diff)
	}
	for raw, want := range map[string]string{
		`{"pages":"many"}`:            `The configuration's "pages" is of type string where integer belongs.`,
		`{"auth":{"token":12345678}}`: `The configuration's "auth.token" is of type number where string belongs.`,
		`{"tags":{}}`:                 `The configuration's "tags" is of type object where array belongs.`,
		`{"pages":1} {}`:              `The configuration cannot be read: invalid character '{' after top-level value`,
	} {
		err := protocol.DecodeConfig(json.RawMessage(raw), &config{})
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
		err := protocol.DecodeConfig(json.RawMessage(raw), &c)
		var e *protocol.Error
		if !errors.As(err, &e) || !strings.Contains(e.Message, "The configuration's "+want+" is of type") {
			t.Errorf("%s: %v, want %s", raw, err, want)
		}
	}
}

func TestReflect(t *testing.T) {
	got, err := json.MarshalIndent(protocol.Reflect(&config{}, "Test"), "", "  ")
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
