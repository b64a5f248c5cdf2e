//go:build acceptance

package acceptance

import (
	"os"
	"path/filepath"
	"testing"
)

// The tables hold what Airbyte's source for files reads from local files, value by value, in each mode. The second sync of
// each finds the second file.
func TestLocalFilesAreWrittenValueByValue(t *testing.T) {
	t.Parallel()
	program := filepath.Join(repository, ".cache/file/bin/source-file")
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("source-file is not installed (%v): run make engines", err)
	}
	for format, contents := range map[string][]string{
		"csv": {
			"key,name,score,day,flag\na,Zoë 💖,1.5,2026-01-01,true\nb,\"two\nlines, \"\"quoted\"\"\",-2.5e-1,2026-01-02,false\nc,,,,true\n",
			"key,name,score,day,flag\nb,changed,0.1,2026-01-03,true\nd,,9007199254740993,,false\n",
		},
		"json": {
			`[{"key":"a","name":"Zoë","tags":["x","y"],"of":{"n":1,"deep":{"s":"☃"}}},{"key":"b","name":null,"tags":[],"of":{"n":null,"deep":{"s":""}}}]`,
			`[{"key":"b","name":"changed","tags":["z"],"of":{"n":-9007199254740993,"deep":{"s":"\u0001\n"}}},{"key":"c","name":"","tags":["",""],"of":{"n":0,"deep":{"s":"s"}}}]`,
		},
		"parquet": {
			`{"key":"a","name":"Zoë 💖","score":1.5,"count":1,"flag":true}` + "\n" + `{"key":"b","name":null,"score":-2.5e-1,"count":-9007199254740993,"flag":false}` + "\n",
			`{"key":"b","name":"changed","score":1e-300,"count":2,"flag":true}` + "\n" + `{"key":"c","name":"","score":0,"count":0,"flag":false}` + "\n",
		},
	} {
		t.Run(format, func(t *testing.T) {
			dir := t.TempDir()
			f := &foreignSource{}
			catalog := filepath.Join(dir, "catalog.json")
			for i, content := range contents {
				file, config := filepath.Join(dir, "items."+format), filepath.Join(dir, "source.json")
				writeText(t, file, content)
				if format == "parquet" {
					writeText(t, file+".jsonl", content)
					if _, err := script(t.Context(), "parquet_file.py", file+".jsonl", file); err != nil {
						t.Fatal(err)
					}
				}
				writeJSON(t, config, map[string]any{"dataset_name": "items", "format": format, "url": file, "provider": map[string]any{"storage": "local"}})
				if i == 0 {
					f.addStreams(t, program, "--config", config)
					writeJSON(t, catalog, f.catalog("append"))
				}
				f.hear(t, run(t, program, "read", "--config", config, "--catalog", catalog)) // it sends no states
				if n := len(f.streams[0].records[i]); n < 2 {
					t.Fatalf("source-file emits %d records", n)
				}
			}
			for _, mode := range []string{"append", "append_dedup", "overwrite"} {
				t.Run(mode, func(t *testing.T) { f.check(t, mode) })
			}
		})
	}
}

func writeText(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}
