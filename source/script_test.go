package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/ingest-connectors/whoop-iceberg/protocol/protocoltest"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/consent/consenttest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"source": main})
}

// The scripts show what a person at a shell sees.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"await":   await,
			"post":    post,
			"advance": advance,
			"states":  states,
			"consent": consentByHand,
		},
	})
}

// await FILE waits until a file is there.
func await(ts *testscript.TestScript, _ bool, args []string) {
	for range 6000 { // two minutes, on a machine as busy as can be
		if info, err := os.Stat(ts.MkAbs(args[0])); err == nil && info.Size() > 0 {
			return
		}
		time.Sleep(20 * time.Millisecond)
	}
	ts.Fatalf("%s never came", args[0])
}

// post CONFIG PATH asks something of the sandbox that a configuration points to.
func post(ts *testscript.TestScript, _ bool, args []string) {
	var c config.Config
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &c))
	resp, err := http.Post(c.APIURL+args[1], "", nil)
	ts.Check(err)
	ts.Check(resp.Body.Close())
	if resp.StatusCode >= 300 {
		ts.Fatalf("%s answered %s", args[1], resp.Status)
	}
}

// advance CONFIG DURATION moves the clock of the sandbox that a configuration
// points to, with the sandbox's own client.
func advance(ts *testscript.TestScript, _ bool, args []string) {
	var c config.Config
	ts.Check(json.Unmarshal([]byte(ts.ReadFile(args[0])), &c))
	ts.Check(ts.Exec("source", "sandbox", "--addr", c.APIURL, "--advance", args[1]))
	if !strings.HasPrefix(ts.ReadFile("stdout"), "it is now 2026-") {
		ts.Fatalf("the clock says %q", ts.ReadFile("stdout"))
	}
}

// states MESSAGES FILE writes each stream's last state, as --state wants them.
func states(ts *testscript.TestScript, _ bool, args []string) {
	messages, err := protocoltest.Parse([]byte(ts.ReadFile(args[0])))
	ts.Check(err)
	last := map[string]json.RawMessage{}
	for _, m := range messages {
		if m.Type == "STATE" {
			name, _, _ := bytes.Cut(m.State, []byte(`"stream_state"`))
			last[string(name)] = m.State
		}
	}
	var list []json.RawMessage
	for _, s := range last {
		list = append(list, s)
	}
	raw, err := json.Marshal(list)
	ts.Check(err)
	ts.Check(os.WriteFile(ts.MkAbs(args[1]), raw, 0o600))
}

// consent DECISION ARGS… runs source authorize --paste ARGS…, decides at the
// address that it prints, and pastes the one that the browser ends at. What it
// says goes to the file consent.txt.
func consentByHand(ts *testscript.TestScript, neg bool, args []string) {
	cmd := exec.Command("source", append([]string{"authorize", "--paste"}, args[1:]...)...)
	cmd.Dir = ts.Getenv("WORK")
	cmd.Env = append(os.Environ(), "WHOOP_CLIENT_ID="+ts.Getenv("WHOOP_CLIENT_ID"), "WHOOP_CLIENT_SECRET="+ts.Getenv("WHOOP_CLIENT_SECRET"))
	in, err := cmd.StdinPipe()
	ts.Check(err)
	say := &consenttest.Terminal{Open: func(address string) {
		end, err := consenttest.Decide(address, args[0], false)
		if err != nil {
			end = err.Error()
		}
		fmt.Fprintln(in, end)
		in.Close()
	}}
	cmd.Stderr = say
	if err := cmd.Run(); (err != nil) != neg {
		ts.Fatalf("%v\n%s", err, say.String())
	}
	ts.Check(os.WriteFile(ts.MkAbs("consent.txt"), []byte(say.String()), 0o600))
}
