//go:build acceptance

package acceptance

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/apache/iceberg-go/io"
	"github.com/apache/iceberg-go/table"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"

	"github.com/ingest-connectors/whoop-iceberg/acceptance/servers"
)

// pass has two days pass for all that an object store holds.
func pass(t *testing.T, store *servers.Server) {
	t.Helper()
	err := filepath.WalkDir(store.Directory, func(path string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		before := info.ModTime().Add(-48 * time.Hour)
		return os.Chtimes(path, before, before)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// storeFiles are the objects of a store as Iceberg's library reads them, without the program under test.
type storeFiles struct{ *servers.Server }

func (s storeFiles) path(location string) string {
	return filepath.Join(s.Directory, strings.TrimPrefix(location, "s3://"))
}

func (s storeFiles) Open(location string) (io.File, error) { return os.Open(s.path(location)) }

func (s storeFiles) Remove(string) error { return fs.ErrPermission }

// wantNoLeftovers checks that each object in the directories of a lake's tables is a metadata file of the table's history
// or named by one, and that no upload is open.
func (l *lake) wantNoLeftovers(store *servers.Server) {
	l.t.Helper()
	files := storeFiles{store}
	for _, metadata := range l.metadataLocations() {
		dir := metadata[:strings.LastIndex(metadata, "/")]
		found, err := filepath.Glob(filepath.Join(files.path(dir), "*.metadata.json"))
		if err != nil || len(found) == 0 {
			l.t.Fatalf("%s has no metadata files: %v", dir, err)
		}
		all := map[string]table.Metadata{}
		for _, path := range found {
			text, err := os.ReadFile(path)
			if err != nil {
				l.t.Fatal(err)
			}
			if all[dir+"/"+filepath.Base(path)], err = table.ParseMetadataBytes(text); err != nil {
				l.t.Fatal(err)
			}
		}
		named, history := map[string]bool{dir + "/version-hint.text": true}, historyOf(all, metadata)
		for location, meta := range all {
			named[location] = true
			l.nameFiles(files, meta, named)
			if !history[location] {
				l.t.Errorf("%s is not in the history of the table", location)
			}
		}
		root := strings.TrimSuffix(dir, "/metadata")
		err = filepath.WalkDir(files.path(root), func(path string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				return err
			}
			if location := root + strings.TrimPrefix(path, files.path(root)); !named[location] {
				l.t.Errorf("nothing names %s", location)
			}
			return nil
		})
		if err != nil {
			l.t.Fatal(err)
		}
	}
	if open := uploads(l.t, store); len(open) > 0 {
		l.t.Errorf("uploads are open: %q", open)
	}
}

// historyOf are the locations of a metadata file and those before it. The last ones may be gone.
func historyOf(all map[string]table.Metadata, metadata string) map[string]bool {
	history := map[string]bool{}
	for next := []string{metadata}; len(next) > 0; next = next[1:] {
		meta, there := all[next[0]]
		if history[next[0]] {
			continue
		}
		history[next[0]] = true
		if there {
			for entry := range meta.PreviousFiles() {
				next = append(next, entry.MetadataFile)
			}
		}
	}
	return history
}

// nameFiles adds the files that a table's snapshots name.
func (l *lake) nameFiles(files storeFiles, meta table.Metadata, named map[string]bool) {
	l.t.Helper()
	for _, s := range meta.Snapshots() {
		if named[s.ManifestList] {
			continue
		}
		named[s.ManifestList] = true
		manifests, err := s.Manifests(files)
		if errors.Is(err, fs.ErrNotExist) {
			continue // it has expired
		}
		if err != nil {
			l.t.Fatal(err)
		}
		for _, m := range manifests {
			if named[m.FilePath()] {
				continue
			}
			named[m.FilePath()] = true
			for entry, err := range m.Entries(files, false) {
				if errors.Is(err, fs.ErrNotExist) {
					break
				}
				if err != nil {
					l.t.Fatal(err)
				}
				named[entry.DataFile().FilePath()] = true
			}
		}
	}
}

// uploads are the keys of the uploads that were begun in a store and not completed.
func uploads(t testing.TB, store *servers.Server) (keys []string) {
	t.Helper()
	client := s3.New(s3.Options{
		BaseEndpoint: &store.Endpoint, UsePathStyle: true, Region: servers.Region,
		Credentials: credentials.NewStaticCredentialsProvider(servers.AccessKeyID, servers.SecretAccessKey, ""),
	})
	listed, err := client.ListMultipartUploads(t.Context(), &s3.ListMultipartUploadsInput{Bucket: aws.String(servers.Bucket)})
	if err != nil {
		t.Fatal(err)
	}
	for _, u := range listed.Uploads {
		keys = append(keys, *u.Key)
	}
	return keys
}

// A destination that ends while it uploads an object in parts leaves the upload open only if it is killed, and then
// for a day.
func TestAnUploadIsNotLeftOpen(t *testing.T) {
	store := serve(t, programs().VersityGW)
	for name, by := range map[string]syscall.Signal{"killed": syscall.SIGKILL, "terminated": syscall.SIGTERM} {
		t.Run(name, func(t *testing.T) {
			l := newLake(t, t.TempDir(), map[string]any{
				"warehouse": "s3://" + servers.Bucket + "/" + name, "storage": store.Storage(), "catalog": map[string]any{"type": "sqlite", "path": filepath.Join(t.TempDir(), "catalog.db")},
			})
			f := feed{lengths: map[string]int{"log": 1}, version: 1}
			catalog := f.configure(l)
			if a := f.try(l, catalog, nil, stop{}); a.run.Code != 0 {
				t.Fatalf("exit code %d: %s", a.run.Code, a.run.Stdout)
			}
			a := newAttempt(l, catalog)
			to, from := a.start(t)
			listened := make(chan struct{})
			go func() {
				defer close(listened)
				a.listen(from, func(int) {})
			}()
			text := make([]byte, 1<<20) // which nothing compresses
			random := rand.NewChaCha8([32]byte{1})
			for n := 1; len(uploads(t, store)) == 0; n++ {
				if n > 500 {
					t.Fatal("no upload was begun")
				}
				_, _ = random.Read(text)
				for i := range text {
					text[i] = 'a' + text[i]%26
				}
				line := fmt.Sprintf(`{"type":"RECORD","record":{"stream":"log","emitted_at":1767225600000,"data":{"id":%d,"version":%[1]d,"name":%q}}}`+"\n", n, bytes.Clone(text))
				if _, err := a.passed.Write([]byte(line)); err != nil {
					t.Fatal(err)
				}
			}
			if err := a.cmd.Process.Signal(by); err != nil {
				t.Fatal(err)
			}
			to.Close()
			<-listened
			a.end(t)
			switch open := uploads(t, store); {
			case by == syscall.SIGTERM:
				if len(open) > 0 {
					t.Errorf("told to stop, it left %q", open)
				}
			case len(open) == 0 || slices.ContainsFunc(open, func(key string) bool { return !strings.HasPrefix(key, name) }):
				t.Errorf("killed, it left %q", open)
			}
			l.run("maintain", "--config", l.config)
			if open := uploads(t, store); by == syscall.SIGKILL && len(open) == 0 {
				t.Error("an upload that another process may be working on was aborted")
			}
			pass(t, store)
			l.run("maintain", "--config", l.config)
			l.wantNoLeftovers(store)
			if rows := len(l.preview("log")); rows != 1 {
				t.Errorf("the table has %d rows", rows)
			}
		})
	}
}
