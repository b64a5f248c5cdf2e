package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/changes"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/whoop"
)

// canned answers with the page that the query's token names.
type canned map[string][]byte

func (c canned) RoundTrip(req *http.Request) (*http.Response, error) {
	body := c[req.URL.Query().Get("nextToken")]
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{}, ContentLength: int64(len(body)), Body: io.NopCloser(bytes.NewReader(body)),
	}, nil
}

// cannedPages are pages of a member's first sleeps.
func cannedPages(count int) (api canned, size int) {
	server := sandbox.New(sandbox.Config{Seed: 1, Years: 3, Clock: sandbox.NewClock(opening)})
	rows := slices.Collect(maps.Values(server.Oracle().Records("sleep", opening)))
	api = canned{}
	for i := range count {
		page := struct {
			Records []json.RawMessage `json:"records"`
			Next    string            `json:"next_token,omitempty"`
		}{Records: rows[i*whoop.PageSize : (i+1)*whoop.PageSize]}
		token := ""
		if i > 0 {
			token = strconv.Itoa(i)
		}
		if i < count-1 {
			page.Next = strconv.Itoa(i + 1)
		}
		body, err := json.Marshal(page)
		if err != nil {
			panic(err)
		}
		api[token] = body
		size += len(body)
	}
	return api, size
}

// anyToken is a token that is always good.
type anyToken struct{}

func (anyToken) Token(context.Context) (string, error) { return "token", nil }
func (anyToken) TokenInsteadOf(context.Context, string, func(context.Context) (bool, error)) (string, error) {
	return "token", nil
}

// failsAt is a pipe whose reader is gone by the time that a text comes.
type failsAt string

func (f failsAt) Write(message []byte) (int, error) {
	if bytes.Contains(message, []byte(f)) {
		return 0, syscall.EPIPE
	}
	return len(message), nil
}

func TestAStreamWhoseEndCannotBeWrittenEndsTheRun(t *testing.T) {
	r := &run{session: &session{out: protocol.NewEmitter(failsAt("COMPLETE"), protocol.EmitterOptions{})}}
	rd := newReader(r, streams[0], protocol.FullRefresh)
	err := r.failStream(t.Context(), rd, rd.complete([]byte(fullRefreshDone)))
	if !errors.Is(err, syscall.EPIPE) {
		t.Errorf("error %v", err)
	}
}

// Nobody reads the output any more when WHOOP's quota is used up, or when the token has
// expired: the run ends, before WHOOP is asked for tokens that nobody would take.
func TestARunThatNobodyReadsSpendsNoRefreshToken(t *testing.T) {
	for text, profile := range map[failsAt]sandbox.Profile{
		"RATE_LIMITED": {RequestsPerMinute: 4, RequestsPerDay: -1},
		"renewing":     {Tick: member.Duration(10 * time.Minute)},
	} {
		t.Run(string(text), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := young(t, 1, 60, nil)
				if err := w.server.SetProfile(profile); err != nil {
					t.Fatal(err)
				}
				raw, err := json.Marshal(w.config)
				if err != nil {
					t.Fatal(err)
				}
				out := protocol.NewEmitter(writerFunc(func(p []byte) (int, error) {
					n, err := text.Write(p)
					if err != nil {
						w.clock.Advance(day) // the access token dies
					}
					return n, err
				}), protocol.EmitterOptions{})
				err = w.source.Read(t.Context(), protocol.ReadJob{Config: raw, Catalog: catalog(t, protocol.Incremental)}, out)
				var output outputError
				if !errors.As(err, &output) || !errors.Is(err, syscall.EPIPE) || strings.Contains(err.Error(), "tokens") {
					t.Errorf("error %v", err)
				}
				if a := w.server.Audit(); a.Refreshes != 0 {
					t.Errorf("%d refreshes", a.Refreshes)
				}
			})
		})
	}
}

// How fast records go from the answers of the API to standard output, when
// neither the API nor the pace takes any time: slices of 400 new sleeps.
func BenchmarkEmit(b *testing.B) {
	const count = 16
	api, size := cannedPages(count)
	out := protocol.NewEmitter(io.Discard, protocol.EmitterOptions{})
	ses := &session{out: out, client: whoop.New(whoop.Config{URL: "https://whoop.invalid", Tokens: anyToken{}, RequestsPerSecond: 1e9, HTTP: api})}
	rd := newReader(&run{session: ses, end: opening}, streams[4], protocol.Incremental)
	if err := out.Status(rd.stream.id(), protocol.Started); err != nil {
		b.Fatal(err)
	}
	w := &walk{run: rd.run, collection: sleepCollection, readers: []*reader{rd}}
	emitted := 0
	for b.Loop() {
		rd.tracker = changes.New(changes.State{}, 14*day, false, time.Time{})
		records, err := w.fetch(b.Context(), timeSlice{opening.Add(-sliceLength), opening})
		if err != nil {
			b.Fatal(err)
		}
		if err := rd.emitRows(b.Context(), records, timeSlice{}); err != nil {
			b.Fatal(err)
		}
		emitted += len(records)
	}
	b.SetBytes(int64(size))
	b.ReportMetric(float64(emitted)/b.Elapsed().Seconds(), "records/s")
}
