//go:build acceptance

package acceptance

import (
	"bufio"
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"
)

// A browser is a Chromium without a window, driven by WebDriver (the W3C's protocol, over plain HTTP).
type browser struct {
	t       testing.TB
	session string // URL
}

// element is the key under which WebDriver names an element.
const element = "element-6066-11e4-a52e-4f735466cecf"

func newBrowser(t testing.TB) *browser {
	t.Helper()
	driver, err := exec.LookPath("chromedriver")
	if err != nil {
		t.Fatalf("consents are given in a real browser (%v): on Debian, apt-get install chromium chromium-driver", err)
	}
	cmd := exec.Command(driver, "--port=0") // it outlives the test's context: it is to close the browser first
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		_ = cmd.Wait()
	})
	lines, port := bufio.NewScanner(stdout), ""
	for port == "" && lines.Scan() {
		if m := regexp.MustCompile(`started successfully on port (\d+)`).FindStringSubmatch(lines.Text()); m != nil {
			port = m[1]
		}
	}
	if port == "" {
		t.Fatalf("chromedriver did not start: %v", lines.Err())
	}
	go io.Copy(io.Discard, stdout) //nolint:errcheck // what else it says

	b := &browser{t: t}
	var session struct{ SessionID string }
	b.do("POST", "http://127.0.0.1:"+port+"/session", map[string]any{"capabilities": map[string]any{"alwaysMatch": map[string]any{
		"acceptInsecureCerts": true, // as a person does who goes on past the warning
		"goog:loggingPrefs":   map[string]string{"browser": "ALL"},
		"goog:chromeOptions": map[string]any{"args": []string{
			"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
			"--disable-component-update", "--disable-sync", "--window-size=900,1000", "--user-data-dir=" + t.TempDir(),
		}},
	}}}, &session)
	b.session = "http://127.0.0.1:" + port + "/session/" + session.SessionID
	t.Cleanup(func() { b.do("DELETE", b.session, nil, nil) })
	return b
}

// try sends a command and returns WebDriver's error, if it has one.
func (b *browser) try(method, url string, body, value any) error {
	if body == nil {
		body = map[string]any{}
	}
	encoded, err := json.Marshal(body)
	if err != nil {
		return err
	}
	req, err := http.NewRequest(method, url, bytes.NewReader(encoded))
	if err != nil {
		return err
	}
	resp, err := (&http.Client{Timeout: 2 * time.Minute}).Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	var answer struct{ Value json.RawMessage }
	if err := json.NewDecoder(resp.Body).Decode(&answer); err != nil {
		return fmt.Errorf("%s %s: %w", method, url, err)
	}
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s %s: %s", method, url, last(answer.Value, 1000))
	}
	if value == nil {
		return nil
	}
	return json.Unmarshal(answer.Value, value)
}

func (b *browser) do(method, url string, body, value any) {
	b.t.Helper()
	if err := b.try(method, url, body, value); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) open(address string) {
	b.t.Helper()
	b.do("POST", b.session+"/url", map[string]string{"url": address}, nil)
}

// find waits for an element. A page that is still on its way has none.
func (b *browser) find(selector string) (url string) {
	b.t.Helper()
	var found map[string]string
	var err error
	for range 600 {
		if err = b.try("POST", b.session+"/element", map[string]string{"using": "css selector", "value": selector}, &found); err == nil {
			return b.session + "/element/" + found[element]
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatal(err)
	return ""
}

// click follows a button to the next page, and waits until this one is gone.
func (b *browser) click(selector string) {
	b.t.Helper()
	button := b.find(selector)
	b.do("POST", button+"/click", nil, nil)
	for range 600 {
		if b.try("GET", button+"/name", nil, nil) != nil {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	b.t.Fatalf("%s led nowhere", selector)
}

// text is what a person reads in an element.
func (b *browser) text(selector string) string {
	b.t.Helper()
	for {
		var text string
		err := b.try("GET", b.find(selector)+"/text", nil, &text)
		if err == nil {
			return text
		}
		if !strings.Contains(err.Error(), "stale element") { // as when another page has come since
			b.t.Fatal(err)
		}
	}
}

// eval evaluates an expression in the page.
func (b *browser) eval(expression string, value any) {
	b.t.Helper()
	b.do("POST", b.session+"/execute/sync", map[string]any{"script": "return " + expression, "args": []any{}}, value)
}

// prefer sets the colour scheme that the person has chosen.
func (b *browser) prefer(scheme string) {
	b.t.Helper()
	b.do("POST", b.session+"/goog/cdp/execute", map[string]any{"cmd": "Emulation.setEmulatedMedia", "params": map[string]any{
		"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}},
	}}, nil)
}

// resize makes the window as wide and high as a device's.
func (b *browser) resize(width, height int) {
	b.t.Helper()
	b.do("POST", b.session+"/goog/cdp/execute", map[string]any{"cmd": "Emulation.setDeviceMetricsOverride", "params": map[string]any{
		"width": width, "height": height, "deviceScaleFactor": 1, "mobile": false,
	}}, nil)
}

// press presses keys, which go to the element that has the focus.
func (b *browser) press(keys ...string) {
	b.t.Helper()
	var actions []map[string]string
	for _, key := range keys {
		actions = append(actions, map[string]string{"type": "keyDown", "value": key}, map[string]string{"type": "keyUp", "value": key})
	}
	b.do("POST", b.session+"/actions", map[string]any{"actions": []any{map[string]any{"type": "key", "id": "keyboard", "actions": actions}}}, nil)
}

// complaints are what the browser has written into its console since the last call: errors of scripts, and what
// a content security policy refused.
func (b *browser) complaints() (all []string) {
	b.t.Helper()
	var entries []struct{ Level, Message string }
	b.do("POST", b.session+"/se/log", map[string]string{"type": "browser"}, &entries)
	for _, e := range entries {
		all = append(all, e.Level+" "+e.Message)
	}
	return all
}

// screenshot keeps a picture of the page where ACCEPTANCE_SCREENSHOTS says, for a person to look at.
func (b *browser) screenshot(name string) {
	b.t.Helper()
	dir := os.Getenv("ACCEPTANCE_SCREENSHOTS")
	if dir == "" {
		return
	}
	var encoded string
	b.do("GET", b.session+"/screenshot", nil, &encoded)
	picture, err := base64.StdEncoding.DecodeString(encoded)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(dir+"/"+name+".png", picture, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
