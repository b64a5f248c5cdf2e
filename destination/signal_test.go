package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/laketest"
	"github.com/ingest-connectors/whoop-iceberg/destination/internal/syncer"
	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/testsize"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// The writer of the input and this program may be told to stop at one moment, and either may be quicker. Then the
// end of the input proves nothing: an overwrite is not swapped in, rows that no state covers do not become
// visible, and the run does not succeed.
func TestASignalNearTheEndOfTheInput(t *testing.T) {
	if err := laketest.StartZstd(); err != nil {
		t.Fatal(err)
	}
	const record, state = `{"type":"RECORD","record":{"stream":"items","emitted_at":1,"data":{"id":%d}}}` + "\n",
		`{"type":"STATE","state":{"type":"STREAM","stream":{"stream_descriptor":{"name":"items"},"stream_state":{"n":%d}}}}` + "\n"
	inputs := map[string]string{
		"a state last":   fmt.Sprintf(record+state, 7, 7),
		"a record last":  fmt.Sprintf(record+state+record, 7, 7, 8),
		"no state":       fmt.Sprintf(record, 7),
		"COMPLETE":       fmt.Sprintf(record+state, 7, 7) + fedComplete,
		"a record, then": fmt.Sprintf(record+state+record, 7, 7, 8) + fedComplete,
	}
	for _, mode := range []protocol.DestinationSyncMode{protocol.Append, protocol.Overwrite} {
		for _, completion := range []syncer.Completion{syncer.Strict, syncer.StateHint, syncer.EndOfInput} {
			t.Run(fmt.Sprintf("%s/%s", mode, completion), func(t *testing.T) {
				t.Parallel()
				root := t.TempDir()
				lake, saved := filepath.Join(root, "lake"), filepath.Join(root, "saved")
				config := protocoltest.File(t, fmt.Sprintf(`{"warehouse":"file://%s","completion":%q,"maintenance":{"on_write":false}}`, lake, completion))
				catalog := protocoltest.File(t, fmt.Sprintf(`{"streams":[{"stream":{"name":"items","json_schema":{"properties":{"id":{"type":"integer"}}}},
					"sync_mode":"incremental","destination_sync_mode":%q}]}`, mode))
				write := []string{"write", "--config", config, "--catalog", catalog}
				if code := newDestination().run(t.Context(), cli.Env{
					Args: write, Stdin: strings.NewReader(fmt.Sprintf(record+state, 1, 1) + fedComplete), Stdout: io.Discard, Stderr: io.Discard,
				}); code != 0 {
					t.Fatalf("exit code %d", code)
				}
				if err := os.CopyFS(saved, os.DirFS(lake)); err != nil {
					t.Fatal(err)
				}
				for name, input := range inputs {
					for _, after := range []time.Duration{-1, 400, 1, -50, 249}[:testsize.Of(2, 5)] {
						proven := strings.HasSuffix(input, fedComplete)
						last := strings.HasPrefix(name, "a record") // after the last state
						assumed := after > 250 && !proven && (completion == syncer.EndOfInput || completion == syncer.StateHint && name == "a state last")
						t.Run(fmt.Sprintf("%s/%d ms", name, after), func(t *testing.T) {
							if err := errors.Join(os.RemoveAll(lake), os.CopyFS(lake, os.DirFS(saved))); err != nil {
								t.Fatal(err)
							}
							code, stdout := runAndSignal(t, write, input, after)
							var rows bytes.Buffer
							newDestination().run(t.Context(), cli.Env{Args: []string{"preview", "items", "--config", config, "--json"}, Stdout: &rows, Stderr: io.Discard})
							got := ""
							for _, id := range []string{"1", "7", "8"} {
								if strings.Contains(rows.String(), `{"id":`+id+`,`) {
									got += id
								}
							}
							if want := expectedRows(mode, name, last, after, proven, assumed); got != want {
								t.Errorf("rows %s, want %s", got, want)
							}
							if succeeds := proven && after >= 0 || assumed; (code == 0) != succeeds {
								t.Errorf("exit code %d\n%s", code, stdout)
							}
							if strings.Contains(stdout, `"destinationStats"`) && !strings.Contains(rows.String(), `{"id":7,`) {
								t.Error("a state came back without its rows")
							}
						})
					}
				}
			})
		}
	}
}

// runAndSignal runs the destination on an input, and tells it to stop so many milliseconds after the end of the
// input, or before it.
func runAndSignal(t *testing.T, args []string, input string, after time.Duration) (code int, stdout string) {
	var printed bytes.Buffer
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		in, out := io.Pipe()
		fed := goroutine.Start(func() error {
			time.Sleep(time.Second) // everything is open by then
			_, err := io.WriteString(out, input)
			time.Sleep(time.Second)
			if after < 0 {
				cancel()
				time.Sleep(-after * time.Millisecond)
			}
			out.Close()
			if after >= 0 {
				time.Sleep(after * time.Millisecond)
				cancel()
			}
			return err
		})
		code = newDestination().run(ctx, cli.Env{Args: args, Stdin: in, Stdout: &printed, Stderr: io.Discard})
		in.Close()
		<-fed //nolint:errcheck // a broken pipe when the write ended first
	})
	return code, printed.String()
}

func expectedRows(mode protocol.DestinationSyncMode, name string, last bool, after time.Duration, proven, assumed bool) string {
	whole := map[bool]string{false: "7", true: "78"}[last]
	switch overwrites := mode == protocol.Overwrite; {
	case overwrites && (proven || assumed):
		return whole
	case overwrites:
		return "1"
	case proven && after < 0: // there may have been more
		return "17"
	case proven, assumed:
		return "1" + whole
	case name == "no state":
		return "1"
	}
	return "17"
}
