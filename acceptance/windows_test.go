//go:build acceptance

package acceptance

import (
	"bytes"
	"encoding/binary"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// The programs for Windows, under Wine: a sync, the drop of a table, another sync, and maintenance. Then the lake moves to
// this system, where the engines read it and the next sync continues.
func TestWindowsProgramsUnderWine(t *testing.T) {
	programs := unpackedRelease(t)
	wine := newWine(t)
	launch := func(program string, args []string) (string, []string) {
		mapped := []string{filepath.Join(programs, filepath.Base(program)+".exe")}
		for _, arg := range args {
			if filepath.IsAbs(arg) {
				arg = "Z:" + arg // the root of this system
			}
			mapped = append(mapped, arg)
		}
		return wine, mapped
	}

	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens.json")
	m := newMember(t, dir, nil, "--seed", "3", "--token-file", tokens)
	l := newLake(t, dir, nil)
	c := connect(t, m, l, protocol.AppendDedup)
	here := map[string]map[string]any{m.config: {}, l.config: {}}
	for path, config := range here {
		readJSON(t, path, &config)
	}
	writeJSON(t, l.config, map[string]any{"warehouse": "file:///Z:" + l.dir, "namespace": "whoop"})
	writeJSON(t, m.config, with(here[m.config], "credentials", map[string]any{"auth_type": "token_file", "path": `Z:` + strings.ReplaceAll(tokens, "/", `\`)}))
	c.launch, l.launch = launch, launch

	for program, config := range map[string]string{source: m.config, destination: l.config} {
		out, err := finish(c.launch.command(t.Context(), program, "check", "--config", config))
		if err != nil || !bytes.Contains(out, []byte("SUCCEEDED")) {
			t.Fatalf("check: %v: %s", err, out)
		}
	}
	c.sync()
	l.run("drop", "--config", l.config, "whoop.sleep") // with its state: the next sync reads the stream from its beginning
	if left, _ := filepath.Glob(filepath.Join(l.dir, "whoop.db/sleep/*/*")); len(left) != 0 {
		t.Errorf("drop left %q", left)
	}
	m.pass(20 * 24 * time.Hour)
	c.sync()
	l.run("maintain", "--config", l.config)
	c.wantTruth(c.previews())
	if n := m.spentReplays(); n != 0 {
		t.Errorf("%d refresh tokens were sent twice", n)
	}
	if left, _ := filepath.Glob(filepath.Join(l.dir, "whoop.db/airbyte_check_*")); len(left) != 0 {
		t.Errorf("check left %q", left)
	}

	c.launch, l.launch = nil, nil
	for path, config := range here {
		writeJSON(t, path, config)
	}
	l.run("relocate", "--config", l.config)
	c.wantTruth(c.previews())
	m.pass(24 * time.Hour)
	c.sync()
	c.wantTruth(c.previews())
	c.wantReadings()
}

// What every system promises of files, under Wine.
func TestFilesUnderWine(t *testing.T) {
	wine := newWine(t)
	for _, name := range []string{"internal/osfile", "destination/internal/filenames"} {
		binary := filepath.Join(t.TempDir(), "test.exe")
		build := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, "./"+name)
		build.Dir = repository
		build.Env = append(os.Environ(), "GOOS=windows", "GOARCH=amd64", "CGO_ENABLED=0")
		if _, err := finish(build); err != nil {
			t.Fatal(err)
		}
		out, err := exec.CommandContext(t.Context(), wine, binary, "-test.v").CombinedOutput()
		if err != nil || !bytes.Contains(out, []byte("\nPASS")) {
			t.Errorf("%s: %v\n%s", name, err, out)
		}
	}
}

func with(config map[string]any, key string, value any) map[string]any {
	changed := map[string]any{key: value}
	for k, v := range config {
		if k != key {
			changed[k] = v
		}
	}
	return changed
}

// newWine makes a Windows of its own for a test, and returns the program that runs others in it.
func newWine(t *testing.T) string {
	t.Helper()
	wine, err := exec.LookPath("wine")
	if err != nil {
		t.Fatalf("the programs for Windows are tested with Wine: %v", err)
	}
	prefix := t.TempDir()
	for name, value := range map[string]string{"WINEPREFIX": prefix, "WINEDEBUG": "-all", "WINEDLLOVERRIDES": "mscoree,mshtml=", "DISPLAY": ""} {
		t.Setenv(name, value)
	}
	// The server and the services stay, so that programs need not start them. They have no pipe of this process, for its
	// end would not be seen.
	for _, args := range [][]string{{"wineserver", "-p"}, {"wineboot", "--init"}} {
		if err := exec.CommandContext(t.Context(), args[0], args[1:]...).Run(); err != nil {
			t.Fatalf("%q: %v", args, err)
		}
	}
	t.Cleanup(func() {
		for _, option := range []string{"-k", "-w"} { // ends the processes of this prefix, and waits for that
			if out, err := exec.Command("wineserver", option).CombinedOutput(); err != nil {
				t.Errorf("wineserver %s: %v: %s", option, err, out)
			}
		}
	})
	// Wine 8 has no source of random numbers by the name that Go asks for.
	if err := os.WriteFile(filepath.Join(prefix, "drive_c/windows/system32/bcryptprimitives.dll"),
		forwardingDLL("bcryptprimitives.dll", "ProcessPrng", "advapi32.SystemFunction036"), 0o644); err != nil {
		t.Fatal(err)
	}
	return wine
}

// forwardingDLL is a library for Windows on amd64 with one function, which is that of another library.
func forwardingDLL(name, function, target string) []byte {
	const page, block = 0x1000, 0x200
	var exports, file bytes.Buffer
	put := func(out *bytes.Buffer, values ...any) {
		for _, value := range values {
			if err := binary.Write(out, binary.LittleEndian, value); err != nil {
				panic(err) // the types are right or wrong for ever
			}
		}
	}
	// The export directory, its three tables of one entry each, and the texts that they refer to.
	addresses, names, ordinals, texts := uint32(page+40), uint32(page+44), uint32(page+48), uint32(page+52)
	functionAt := texts + uint32(len(name)) + 1
	targetAt := functionAt + uint32(len(function)) + 1
	put(&exports, [3]uint32{}, texts, uint32(1), uint32(1), uint32(1), addresses, names, ordinals)
	put(&exports, targetAt, functionAt, uint32(0))
	exports.WriteString(name + "\x00" + function + "\x00" + target + "\x00")
	size := uint32(exports.Len())

	put(&file, []byte("MZ"), [58]byte{}, uint32(64), []byte("PE\x00\x00"))
	put(&file, uint16(0x8664), uint16(1), [3]uint32{}, uint16(240), uint16(0x2022))           // amd64, one section, a library
	put(&file, uint16(0x20b), uint16(0), uint32(0), uint32(block), [2]uint32{}, uint32(page)) // PE32+
	put(&file, uint64(0x180000000), uint32(page), uint32(block), [6]uint16{6, 0, 0, 0, 6, 0}) // where it would like to be
	put(&file, uint32(0), uint32(2*page), uint32(block), uint32(0), uint16(2), uint16(0x160))
	put(&file, [4]uint64{1 << 20, page, 1 << 20, page}, uint32(0), uint32(16), uint32(page), size, [15]uint64{})
	put(&file, []byte(".edata\x00\x00"), size, uint32(page), uint32(block), uint32(block), [3]uint32{}, uint32(0x40000040))
	file.Write(make([]byte, block-file.Len()))
	file.Write(exports.Bytes())
	file.Write(make([]byte, 2*block-file.Len()))
	return file.Bytes()
}
