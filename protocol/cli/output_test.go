package cli_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
)

// logging says something again and again until it is told to stop.
var logging = source{read: func(ctx context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
	if err := out.Status(stream, protocol.Started); err != nil {
		return err
	}
	for ctx.Err() == nil {
		if err := out.Log("INFO", "still here"); err != nil {
			return err
		}
	}
	return ctx.Err()
}}

// A reader that stops reading, and neither closes the pipe nor reads on, does not keep a run that was told to stop.
func TestARunThatNobodyReadsEndsWhenItIsToldTo(t *testing.T) {
	args := readArgs(t)
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		defer r.Close() // the write ends, too
		ctx, stop := context.WithCancel(t.Context())
		began := time.Now()
		time.AfterFunc(time.Hour, stop)
		var stderr bytes.Buffer
		code := cli.RunSource(ctx, logging, cli.Env{Args: args, Stdout: w, Stderr: &stderr})
		if after := time.Since(began); code != 1 || after <= time.Hour || after > time.Hour+9*time.Second {
			t.Errorf("exit code %d after %v", code, after)
		}
		if !strings.Contains(stderr.String(), "told to stop, and nobody reads its messages") {
			t.Errorf("stderr: %s", &stderr)
		}
	})
}

// A new configuration is not lost to a reader that pauses when the run is told to stop, and comes back before it is killed.
func TestAConfigurationWaitsForAReaderThatComesBack(t *testing.T) {
	args := readArgs(t)
	for name, before := range map[string]string{"behind records": "still here", "alone": ""} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var handed error
				s := source{read: func(ctx context.Context, _ protocol.ReadJob, out *protocol.Emitter) error {
					<-ctx.Done()
					var err error
					if before != "" {
						err = out.Log("INFO", before)
					}
					handed = out.Control([]byte(`{"refresh_token":"new"}`))
					return errors.Join(err, ctx.Err())
				}}
				r, w := io.Pipe()
				ctx, stop := context.WithCancel(t.Context())
				said := make(chan string)
				go func() {
					time.Sleep(time.Minute)
					stop()
					time.Sleep(7 * time.Second)
					all, err := io.ReadAll(r)
					if err != nil {
						t.Error(err)
					}
					said <- string(all)
				}()
				cli.RunSource(ctx, s, cli.Env{Args: args, Stdout: w, Stderr: io.Discard})
				w.Close()
				if all := <-said; handed != nil || !strings.Contains(all, `"refresh_token":"new"`) || !strings.Contains(all, before) || !strings.HasSuffix(all, "}\n") {
					t.Errorf("%v: %s", handed, all)
				}
			})
		})
	}
}

// A slow one gets everything.
func TestARunThatIsReadSlowlyEndsInOrder(t *testing.T) {
	args := readArgs(t)
	synctest.Test(t, func(t *testing.T) {
		r, w := io.Pipe()
		ctx, stop := context.WithCancel(t.Context())
		var said bytes.Buffer
		done := make(chan error)
		go func() {
			block := make([]byte, 1<<10)
			for {
				time.Sleep(time.Second)
				n, err := r.Read(block)
				said.Write(block[:n])
				if err != nil {
					done <- err
					return
				}
			}
		}()
		time.AfterFunc(time.Minute, stop)
		cli.RunSource(ctx, logging, cli.Env{Args: args, Stdout: w, Stderr: io.Discard})
		w.Close()
		if err := <-done; !errors.Is(err, io.EOF) || !strings.Contains(said.String(), `"INCOMPLETE"`) || !strings.HasSuffix(said.String(), "}\n") {
			t.Errorf("%v: %.300s", err, said.String()[max(0, said.Len()-300):])
		}
	})
}
