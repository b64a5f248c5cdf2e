package progress

import (
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/internal/terminal"
)

// lines are written by one goroutine and taken by another.
type lines struct {
	mu      sync.Mutex
	written []byte
}

func (l *lines) Write(text []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.written = append(l.written, text...)
	return len(text), nil
}

func (l *lines) take() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	text := string(l.written)
	l.written = nil
	return text
}

// Where standard error is no terminal, what is under way is told every ten seconds, and
// what does not change only every minute.
func TestProgressInPlainLines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var got lines
		secrets := &redact.Redactor{}
		secrets.Add("opensesame")
		p := New(terminal.NewScreen(&got, true, nil), "source", secrets)
		wantOutput := func(want string) {
			t.Helper()
			synctest.Wait()
			if diff := cmp.Diff(want, got.take()); diff != "" {
				t.Errorf("after %v:\n%s", time.Since(p.began), diff)
			}
		}
		time.Sleep(10 * time.Second)
		wantOutput("")
		p.Expect("streams", 11)
		p.Add("requests", 1)
		p.Doing("reading opensesame\x1b[2J")
		time.Sleep(10 * time.Second)
		wantOutput("source: 0:20 0 of 11 streams, 1 request, reading **** [2J\n")
		time.Sleep(55 * time.Second)
		wantOutput("")
		time.Sleep(5 * time.Second)
		wantOutput("source: 1:20 0 of 11 streams, 1 request, reading **** [2J\n")
		for range 9 {
			time.Sleep(time.Second)
			p.Records(200)
		}
		p.Add("streams", 1)
		p.Doing("")
		time.Sleep(time.Second)
		wantOutput("source: 1:30 1,800 records (180/s), 1 of 11 streams, 1 request\n")
		until := time.Now().Add(45 * time.Second)
		p.Waiting("quota", until)
		p.Waiting("quota", until.Add(time.Millisecond))
		wantOutput("source: waiting for quota until " + until.Local().Format(time.TimeOnly) + "\n")
		time.Sleep(10 * time.Second)
		wantOutput("source: 1:40 1,800 records, 1 of 11 streams, 1 request, waiting for quota until " + until.Local().Format(time.TimeOnly) + "\n")
		time.Sleep(40 * time.Second)
		wantOutput("source: 2:20 1,800 records, 1 of 11 streams, 1 request\n")
		time.Sleep(time.Hour - 141*time.Second)
		got.take()
		p.Print("%d files", 3)
		p.Finish(t.Context(), errors.New("broken"))
		wantOutput("source: 3 files\nsource: failed after 59:59: 1,800 records, 1 of 11 streams, 1 request\n")
	})
}

// Nobody watches: nothing is counted, and nothing is written.
func TestNoProgress(t *testing.T) {
	var p *Progress
	p.Records(1)
	p.Add("requests", 1)
	p.Expect("streams", 1)
	p.Doing("something")
	p.Waiting("something", time.Now().Add(time.Hour))
	p.Print("something")
	p.End()
	p.Finish(t.Context(), nil)
}
