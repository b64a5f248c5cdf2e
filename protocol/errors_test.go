package protocol

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

func TestSecretsStayInControl(t *testing.T) {
	var out bytes.Buffer
	e := NewEmitter(&out, EmitterOptions{SecretsOf: func(json.RawMessage) []string { return []string{"new-secret"} }})
	e.Redact("old-secret")
	if err := e.Control(json.RawMessage(`{"token":"new-secret"}`)); err != nil {
		t.Fatal(err)
	}
	control := out.Len()
	failure := &Error{Kind: SystemError, Message: "old-secret", Err: &goroutine.PanicError{Value: "new-secret", Stack: "new-secret"}}
	for _, err := range []error{
		e.Log("INFO", "old-secret"), e.ConnectionStatus("FAILED", "new-secret", nil), e.Fail(sleep, failure),
		e.Logger().Handler().Handle(t.Context(), slog.NewRecord(noon, slog.LevelInfo, "new-secret", 0)),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if rest := out.String()[control:]; strings.Contains(rest, "secret") || strings.Count(rest, "****") != 7 {
		t.Errorf("secrets in %s", rest)
	}
	if !strings.Contains(out.String()[:control], "new-secret") {
		t.Errorf("no secret in the CONTROL message: %s", out.String()[:control])
	}
}

func TestRecoverMakesAPanicAnError(t *testing.T) {
	work := func() (err error) {
		defer goroutine.Recover(&err)
		var none []int
		none[len(none)]++
		return nil
	}
	var out bytes.Buffer
	if err := newTestEmitter(&out).FailRun(t.Context(), fmt.Errorf("worker 1: %w", work())); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"worker 1: panic: runtime error: index out of range", `"stack_trace":"goroutine`, "errors_test.go"} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("no %q in %s", want, &out)
		}
	}
}

// A message that says its cause already is not followed by it.
func TestACauseIsSaidOnce(t *testing.T) {
	for _, tt := range []struct {
		message, cause, want string
	}{
		{"It cannot be read.", "no such file", "It cannot be read. (no such file)"},
		{"It cannot be read: no such file.", "no such file", "It cannot be read: no such file."},
		{"Give a key. Give a name.", "Give a key.\nGive a name.", "Give a key. Give a name."},
	} {
		err := &Error{Kind: ConfigError, Message: tt.message, Err: errors.New(tt.cause)}
		if err.Error() != tt.want {
			t.Errorf("%q, want %q", err.Error(), tt.want)
		}
	}
}

func TestJoinedErrorsSayAllAndAskForTheUserIfOneDoes(t *testing.T) {
	config, transient, other := ConfigError.Errorf(nil, "Give a key."), TransientError.Errorf(errors.New("reset"), "Try again."), errors.New("no answer")
	for _, tt := range []struct {
		errs []error
		kind Kind
		want string
	}{
		{errs: []error{nil, config}, kind: ConfigError, want: "Give a key."},
		{errs: []error{transient, nil}, kind: TransientError, want: "Try again. (reset)"},
		{errs: []error{config, config}, kind: ConfigError, want: "Give a key. Give a key."},
		{errs: []error{transient, nil, fmt.Errorf("table a: %w", config)}, kind: ConfigError, want: "Try again. Give a key."},
		{errs: []error{transient, other}, kind: TransientError, want: "Try again. no answer"},
	} {
		err := JoinErrors(tt.errs...)
		if KindOf(err) != tt.kind || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("%v: %s of kind %s, want %q of kind %s", tt.errs, err, KindOf(err), tt.want, tt.kind)
		}
		for _, one := range tt.errs {
			if one != nil && !errors.Is(err, one) {
				t.Errorf("%v is not in %v", one, err)
			}
		}
	}
	if err := JoinErrors(nil, nil); err != nil {
		t.Errorf("no errors make %v", err)
	}
}

// The same error befalls several streams, so people are told of which it is.
func TestAnErrorNamesItsStreamOnStandardError(t *testing.T) {
	for message, want := range map[string]string{
		"WHOOP refuses it.":                       "Stream sleep: WHOOP refuses it.",
		"Stream sleep was not received.":          "Stream sleep was not received.",
		"Stream sleep: the key is missing.":       "Stream sleep: the key is missing.",
		`There is no stream "sleep". There are:`:  `There is no stream "sleep". There are:`,
		"Stream sleep_by_id is the one it needs.": "Stream sleep: Stream sleep_by_id is the one it needs.",
	} {
		if got := (&Error{Stream: &sleep}).ofStream(message); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}
