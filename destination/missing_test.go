package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/storage/s3test"
	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
)

// Which file of a table is missing, and what to do, is said in the same words wherever the files are.
func TestAMissingFileIsExplainedWhateverTheStorage(t *testing.T) {
	for name, pattern := range map[string]string{"data": "data/*.parquet", "manifest": "metadata/*-m[0-9]*.avro", "manifest list": "metadata/snap-*.avro", "metadata": "metadata/*.metadata.json"} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server, dir := s3test.NewServer(nil), t.TempDir()
			local := &lakeUnderTest{t: t, d: unsignalled(), config: protocoltest.File(t, `{"warehouse":"file://`+dir+`/lake"}`)}
			remote := s3Lake(t, s3test.Config(server.URL))
			stream, rows := local.stream(protocol.AppendDedup, 0, 0, ""), records(`{"id":1,"v":"a"}`)+stateOf(1)+fedComplete
			local.write(stream, rows)
			remote.write(stream, rows)

			files, err := filepath.Glob(dir + "/lake/airbyte.db/items/" + pattern)
			if err != nil || len(files) == 0 {
				t.Fatalf("%d files, %v", len(files), err)
			}
			for _, file := range files {
				if err := os.Remove(file); err != nil {
					t.Fatal(err)
				}
			}
			objects, err := server.Objects()
			if err != nil {
				t.Fatal(err)
			}
			maps.DeleteFunc(objects, func(key string, _ []byte) bool {
				matches, err := filepath.Match("lake/airbyte.db/items/"+pattern, key)
				return matches || err != nil
			})
			if err := server.SetObjects(objects); err != nil {
				t.Fatal(err)
			}

			ownWords := strings.NewReplacer("no such file or directory", "file does not exist", "The system cannot find the file specified.", "file does not exist")
			locations := regexp.MustCompile(`\S*/lake/airbyte\.db/items/\S+[a-z]`)
			var said []string
			for _, l := range []*lakeUnderTest{local, remote} {
				out, code := l.do(rows, "write", "--catalog", stream)
				_, message, found := strings.Cut(out, "A file of table airbyte.items is missing: ")
				message, _, ended := strings.Cut(message, "--keep-files.")
				if code == 0 || !found || !ended || !strings.Contains(out, `"failure_type":"config_error"`) {
					t.Fatalf("exit code %d: %s", code, out)
				}
				said = append(said, locations.ReplaceAllString(ownWords.Replace(message), "FILE"))
			}
			if said[0] != said[1] {
				t.Errorf("of local files it says:\n%s\nand of S3:\n%s", said[0], said[1])
			}
		})
	}
}
