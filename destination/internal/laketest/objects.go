package laketest

import (
	"errors"
	"maps"
	"slices"
	"sync"
	"testing"

	iceio "github.com/apache/iceberg-go/io"
)

// ErrWrite is what a write of [Objects] fails with.
var ErrWrite = errors.New("no more can be written")

// Objects are files that appear when they are closed, and that can be given up before, as on S3.
// One write of them fails.
type Objects struct {
	iceio.LocalFS
	mu      sync.Mutex
	left    int             // writes until one fails
	Failed  string          // the file whose write it was
	Writing map[string]bool // files that are neither closed nor given up
	Closed  int
	wrong   []string // what was done to files and must not be
}

// NewObjects returns files of which the first writes succeed, so many.
func NewObjects(writes int) *Objects { return &Objects{left: writes, Writing: map[string]bool{}} }

func (o *Objects) Create(name string) (iceio.FileWriter, error) {
	w, err := o.LocalFS.Create(name)
	if err != nil {
		return nil, err
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	o.Writing[name] = true
	return &objectWriter{w, name, o}, nil
}

// end notes that a file is closed or given up.
func (o *Objects) end(name, how string) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if !o.Writing[name] || how == "closed" && name == o.Failed {
		o.wrong = append(o.wrong, name+" is "+how)
	}
	if how == "closed" {
		o.Closed++
	}
	delete(o.Writing, name)
}

// Expect checks that each file was ended, once, and that the one that failed was given up.
func (o *Objects) Expect(t *testing.T) {
	t.Helper()
	o.mu.Lock()
	defer o.mu.Unlock()
	if len(o.wrong)+len(o.Writing) > 0 {
		t.Errorf("after a write of %q failed: %q; still open: %q", o.Failed, o.wrong, slices.Collect(maps.Keys(o.Writing)))
	}
}

type objectWriter struct {
	iceio.FileWriter
	name    string
	objects *Objects
}

func (w *objectWriter) Write(p []byte) (int, error) {
	w.objects.mu.Lock()
	w.objects.left--
	fails := w.objects.left == -1
	if fails {
		w.objects.Failed = w.name
	}
	w.objects.mu.Unlock()
	if fails {
		return 0, ErrWrite
	}
	return w.FileWriter.Write(p)
}

func (w *objectWriter) Close() error {
	w.objects.end(w.name, "closed")
	return w.FileWriter.Close()
}

func (w *objectWriter) Abort() error {
	w.objects.end(w.name, "given up")
	return errors.Join(w.FileWriter.Close(), w.objects.Remove(w.name))
}
