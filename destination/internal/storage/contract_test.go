package storage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"slices"
	"strings"
	"testing"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/google/go-cmp/cmp"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
)

// storages is one row for each kind. at is a warehouse with nothing in it.
var storages = map[string]struct {
	config Config
	at     func(t *testing.T) string
}{
	"local": {Default(), func(t *testing.T) string { return "file://" + t.TempDir() }},
	"s3":    {s3At(s3test.Start(nil)), func(t *testing.T) string { return "s3://bucket" + t.TempDir() }},
}

// What every storage promises, whatever its kind.
func TestStorages(t *testing.T) {
	for kind, row := range storages {
		for name, test := range map[string]func(*testing.T, *Storage){
			"what is written is read":                  whatIsWrittenIsRead,
			"nothing is written over":                  nothingIsWrittenOver,
			"only what is replaced is":                 onlyWhatIsReplaced,
			"files are listed by their locations":      filesAreListed,
			"files are removed in bulk":                filesAreRemovedInBulk,
			"a tree is removed and nothing beside it":  aTreeIsRemoved,
			"half a file can be removed":               halfAFileCanBeRemoved,
			"a file can be given up":                   aFileCanBeGivenUp,
			"a write that fails leaves nothing":        aWriteThatFails,
			"a file that is not there is ErrNotExist":  aFileThatIsNotThere,
			"the warehouse is made when that is asked": theWarehouseIsMade,
			"scratch files come and go":                scratchFilesComeAndGo,
		} {
			t.Run(kind+"/"+name, func(t *testing.T) {
				// A run that is told to stop still needs its files: nothing of a
				// storage ends with the context that it was opened with.
				ctx, cancel := context.WithCancel(t.Context())
				s, err := Open(ctx, row.config, row.at(t)+"/lake", "")
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				test(t, s)
			})
		}
	}
}

func write(t *testing.T, s *Storage, names ...string) (locations []string) {
	t.Helper()
	for _, name := range names {
		location := s.Warehouse() + "/" + name
		f, err := s.Files().Create(location)
		if err == nil {
			_, err = io.WriteString(f, "content of "+name)
			err = errors.Join(err, f.Close())
		}
		if err != nil {
			t.Fatal(err)
		}
		locations = append(locations, location)
	}
	return locations
}

func list(t *testing.T, s *Storage) (names []string) {
	t.Helper()
	err := s.Files().(iceio.ListableIO).WalkDir(s.Warehouse(), func(location string, d fs.DirEntry, err error) error {
		if err == nil && !d.IsDir() {
			names = append(names, location[strings.Index(location, "/lake/")+len("/lake/"):])
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func expectFiles(t *testing.T, s *Storage, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, list(t, s)); diff != "" {
		t.Error(diff)
	}
}

func whatIsWrittenIsRead(t *testing.T, s *Storage) {
	location := write(t, s, "ns.db/t/data/a b.parquet")[0]
	in, err := s.Files().Open(location)
	if err != nil {
		t.Fatal(err)
	}
	part := make([]byte, 4)
	if _, err := in.ReadAt(part, 11); err != nil || string(part) != "ns.d" {
		t.Errorf("%q, %v", part, err)
	}
	if all, err := io.ReadAll(in); err != nil || string(all) != "content of ns.db/t/data/a b.parquet" {
		t.Errorf("%q, %v", all, err)
	}
	if info, err := in.Stat(); err != nil || info.Size() != 35 || info.ModTime().IsZero() {
		t.Errorf("%v, %v", info, err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	if err := s.Files().WriteFile(s.Warehouse()+"/state.json", []byte("{}")); err != nil {
		t.Error(err)
	}
	if text, err := s.Files().(iceio.ReadFileIO).ReadFile(s.Warehouse() + "/state.json"); err != nil || string(text) != "{}" {
		t.Errorf("%q, %v", text, err)
	}
}

func nothingIsWrittenOver(t *testing.T, s *Storage) {
	location := write(t, s, "a")[0]
	f, err := s.Files().Create(location)
	if err == nil {
		err = f.Close() // an object is there when it is closed, and not before
	}
	if !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
	if err := s.Files().WriteFile(location, nil); !errors.Is(err, fs.ErrExist) {
		t.Errorf("error %v", err)
	}
}

func onlyWhatIsReplaced(t *testing.T, s *Storage) {
	write(t, s, "beside")
	location := s.Warehouse() + "/hint"
	for _, content := range []string{"old and long", "new"} { // it is made first
		if err := ReplaceFile(s.Files(), location, []byte(content)); err != nil {
			t.Fatal(err)
		}
		if text, err := ReadFile(s.Files(), location); err != nil || string(text) != content {
			t.Errorf("%q, %v", text, err)
		}
	}
	expectFiles(t, s, "beside", "hint")
	if err := ReplaceFile(struct{ iceio.IO }{s.Files()}, location, nil); err == nil {
		t.Error("replaced by what cannot")
	}
}

func filesAreListed(t *testing.T, s *Storage) {
	expectFiles(t, s)
	write(t, s, "a", "b/c", "b/d/e", "bb")
	expectFiles(t, s, "a", "b/c", "b/d/e", "bb")
	err := s.Files().(iceio.ListableIO).WalkDir(s.Warehouse()+"/b", func(location string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, infoErr := d.Info()
		in, openErr := s.Files().Open(location)
		if err := errors.Join(infoErr, openErr); err != nil {
			return err
		}
		if info.ModTime().IsZero() || info.Size() == 0 {
			t.Errorf("%s is listed without time and size", location)
		}
		return in.Close()
	})
	if err != nil {
		t.Error(err)
	}
}

func filesAreRemovedInBulk(t *testing.T, s *Storage) {
	locations := write(t, s, "a", "b/c", "b/d")
	for range 2 { // files that are gone are no error
		if removed, err := RemoveAll(t.Context(), s.Files(), locations[:2]); err != nil || !slices.Equal(removed, locations[:2]) {
			t.Errorf("removed %q, %v", removed, err)
		}
		expectFiles(t, s, "b/d")
	}
	if removed, err := RemoveAll(t.Context(), s.Files(), nil); err != nil || len(removed) > 0 {
		t.Errorf("removed %q, %v", removed, err)
	}
	stopped, stop := context.WithCancel(t.Context())
	stop()
	if removed, err := RemoveAll(stopped, s.Files(), locations); !errors.Is(err, context.Canceled) || len(removed) > 0 {
		t.Errorf("removed %q, %v", removed, err)
	}
	expectFiles(t, s, "b/d")
}

func aTreeIsRemoved(t *testing.T, s *Storage) {
	write(t, s, "ns.db/t/data/a", "ns.db/t/metadata/b", "ns.db/tt/c")
	for range 2 {
		if err := RemoveTree(s.Files(), s.Warehouse()+"/ns.db/t"); err != nil {
			t.Error(err)
		}
		expectFiles(t, s, "ns.db/tt/c")
	}
}

func halfAFileCanBeRemoved(t *testing.T, s *Storage) {
	location := s.Warehouse() + "/half"
	f, err := s.Files().Create(location)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "half of"); err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(f.Close(), s.Files().Remove(location)); err != nil {
		t.Error(err)
	}
	expectFiles(t, s)
	if err := f.Close(); err == nil {
		t.Error("closed twice")
	}
	expectFiles(t, s)
}

func aFileCanBeGivenUp(t *testing.T, s *Storage) {
	location := s.Warehouse() + "/given-up"
	f, err := s.Files().Create(location)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(f, "half of"); err != nil {
		t.Fatal(err)
	}
	if err := Abort(s.Files(), location, f); err != nil {
		t.Error(err)
	}
	expectFiles(t, s)
	if err := f.Close(); err == nil {
		t.Error("closed after that")
	}
	if err := Abort(s.Files(), location, f); err == nil {
		t.Error("given up twice")
	}
	expectFiles(t, s)
	write(t, s, "given-up") // the name is free
	expectFiles(t, s, "given-up")
}

func aWriteThatFails(t *testing.T, s *Storage) {
	bad := errors.New("bad")
	for name, writeErr := range map[string]error{"a": nil, "b": bad} {
		location := s.Warehouse() + "/" + name
		out, err := s.Files().Create(location)
		if err != nil {
			t.Fatal(err)
		}
		_, err = io.WriteString(out, "some of it")
		if err := Complete(s.Files(), location, out, errors.Join(err, writeErr)); !errors.Is(err, writeErr) {
			t.Errorf("%s: error %v", name, err)
		}
	}
	expectFiles(t, s, "a")
}

func aFileThatIsNotThere(t *testing.T, s *Storage) {
	location := s.Warehouse() + "/none"
	_, openErr := s.Files().Open(location)
	_, readErr := s.Files().(iceio.ReadFileIO).ReadFile(location)
	for _, err := range []error{openErr, readErr} {
		if !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("error %v", err)
		}
	}
}

func theWarehouseIsMade(t *testing.T, s *Storage) {
	for range 2 {
		if err := s.Make(); err != nil {
			t.Error(err)
		}
	}
	expectFiles(t, s)
}

func scratchFilesComeAndGo(t *testing.T, s *Storage) {
	scratch := NewScratch(s.Files(), func(suffix string) string { return s.Warehouse() + "/ns.db/t/data/1" + suffix })
	path, out, err := scratch.Create(RowsSuffix)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := io.WriteString(out, "rows"); err != nil {
		t.Error(err)
	}
	if err := out.Close(); err != nil {
		t.Error(err)
	}
	in, err := scratch.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := io.ReadAll(in); err != nil || string(got) != "rows" {
		t.Errorf("%q, %v", got, err)
	}
	if err := in.Close(); err != nil {
		t.Error(err)
	}
	for range 2 {
		if err := scratch.Remove([]string{path}); err != nil {
			t.Error(err)
		}
	}
	expectFiles(t, s)
}
