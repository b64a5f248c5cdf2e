//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// sortedRecords are written into a table that is sorted, by a process that has
// many cores.
const sortedRecords = "100 strings of 10 MiB that compress badly, sorted, on 64 cores"

// Nothing that a source may send is too large for a table or for its readers, and the memory that it
// takes is what the documentation says.
func TestHugeRecords(t *testing.T) {
	t.Parallel()
	const columns = 10_000
	var properties, members []string
	for i := range columns {
		kind := i % 3
		properties = append(properties, fmt.Sprintf(`"a column of number %d":{"type":%q}`, i, []string{"integer", "string", "boolean"}[kind]))
		members = append(members, fmt.Sprintf(`"a column of number %d":%s`, i, []string{fmt.Sprint(i), `"text"`, "true"}[kind]))
	}
	object := `{"type":"object","properties":{` + strings.Join(properties, ",") + `}}`
	wide := "{" + strings.Join(members, ",") + "}"
	kept := strings.ReplaceAll(wide, " ", "_") // the columns' names
	long := strings.Repeat("0123456789", 10<<20)
	random := make([]byte, 75<<20)
	_, _ = rand.NewChaCha8([32]byte{}).Read(random) // it never fails
	dense := base64.StdEncoding.EncodeToString(random)

	r := newReadback(t)
	for _, tt := range []struct {
		name, schema, sent, kept string
		mebibytes, rows          int // that it may take, and that there are
	}{
		{"10,000 columns", object, wide, kept, 512, 1},
		{"10,000 columns in an object", `{"properties":{"o":` + object + `}}`, `{"o":` + wide + `}`, `{"o":` + kept + `}`, 512, 1},
		{"a string of 100 MiB", `{"properties":{"s":{"type":"string"}}}`, `{"s":"` + long + `"}`, `{"s":"` + long + `"}`, 512, 1},
		{"a string of 100 MiB that compresses badly", `{"properties":{"s":{"type":"string"}}}`, `{"s":"` + dense + `"}`, "", 512, 1},
		{"a string of 250 MiB", `{"properties":{"s":{"type":"string"}}}`, `{"s":"` + long + long + long[:50<<20] + `"}`, "", 1024, 1},
		{"an escaped string of 100 MiB, in an object", `{"properties":{"o":{"properties":{"s":{"type":"string"}}}}}`, `{"o":{"s":"\u00e9` + long + `"}}`, `{"o":{"s":"é` + long + `"}}`, 512, 1},
		{"3 strings of 100 MiB", `{"properties":{"s":{"type":"string"}}}`, `{"s":"` + long + `"}`, "", 512, 3},
		{"100 strings of 10 MiB", `{"properties":{"s":{"type":"string"}}}`, `{"s":"` + long[:10<<20] + `"}`, "", 512, 100},
		{sortedRecords, `{"properties":{"n":{"type":"integer"},"s":{"type":"string"}}}`, `{"n":1,"s":"` + dense[:10<<20] + `"}`, "", 512, 100},
	} {
		t.Run(tt.name, func(t *testing.T) {
			options, environment := map[string]any{}, os.Environ()
			if tt.name == sortedRecords {
				options["streams"] = []any{map[string]any{"name": "s", "sort_by": []string{"n"}}}
				environment = append(environment, "GOMAXPROCS=64")
			}
			l := newLake(t, t.TempDir(), options)
			catalog := filepath.Join(filepath.Dir(l.config), "catalog.json")
			if err := os.WriteFile(catalog, []byte(`{"streams":[{"stream":{"name":"s","json_schema":`+tt.schema+`},"sync_mode":"incremental","destination_sync_mode":"append"}]}`), 0o600); err != nil {
				t.Fatal(err)
			}
			input := filepath.Join(filepath.Dir(l.config), "input")
			f, err := os.Create(input)
			if err != nil {
				t.Fatal(err)
			}
			for range tt.rows {
				fmt.Fprintf(f, `{"type":"RECORD","record":{"stream":"s","emitted_at":1,"data":%s}}`+"\n", tt.sent)
			}
			if _, err := f.Write(messages("s")); err != nil {
				t.Fatal(err)
			}
			if err := f.Close(); err != nil {
				t.Fatal(err)
			}

			cmd := exec.CommandContext(t.Context(), python, filepath.Join(repository, "acceptance/engines/peak.py"),
				destination, "write", "--config", l.config, "--catalog", catalog)
			cmd.Env = environment
			if cmd.Stdin, err = os.Open(input); err != nil {
				t.Fatal(err)
			}
			out, err := finish(cmd)
			if err != nil {
				t.Fatal(err)
			}
			lines := slices.DeleteFunc(bytes.SplitAfter(out, []byte("\n")), func(line []byte) bool {
				return bytes.HasPrefix(line, []byte(`{"type":"LOG"`)) // of each commit
			})
			state, said := lines[0], bytes.Join(lines[1:], nil)
			if !bytes.Contains(state, []byte(`"type":"STATE"`)) {
				t.Fatalf("it says %s", out)
			}
			var took struct{ Peak int }
			unmarshal(t, said, &took)
			t.Logf("it took %d MiB", took.Peak>>20)
			if took.Peak>>20 > tt.mebibytes {
				t.Errorf("that is more than %d", tt.mebibytes)
			}

			tables, err := ownTables(l.config)
			if err != nil || len(tables) != 1 || tables[0].Rows != tt.rows {
				t.Fatalf("tables %+v, want one of %d rows; %v", tables, tt.rows, err)
			}
			if tt.kept == "" {
				return // hundreds of mebibytes of JSON take the engines minutes, and iceberg-go scans no page of more than 64
			}
			row, _, _ := strings.Cut(string(l.run("preview", "--config", l.config, "--json", "s")), `,"_airbyte_raw_id":`)
			if row += "}"; row != tt.kept {
				t.Errorf("the row has %d bytes, want %d: %.200s", len(row), len(tt.kept), row)
			}
			if err := r.look("huge", l.config, true); err != nil {
				t.Errorf("%.2000s", err.Error())
			}
		})
	}
}
