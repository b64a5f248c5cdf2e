// Package consenttest is a member at a browser.
package consenttest

import (
	"bytes"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Decide presses a button of the consent page at an address. It returns the page
// that the browser ends at, or, if it does not follow there, its address.
func Decide(address, decision string, follow bool) (string, error) {
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 30 * time.Second}
	if !follow {
		browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	asked, err := browser.Get(address)
	if err != nil {
		return "", err
	}
	asked.Body.Close()
	form := u.Query()
	form.Set("decision", decision)
	u.RawQuery = ""
	resp, err := browser.PostForm(u.String(), form)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if !follow {
		return resp.Header.Get("Location"), nil
	}
	page, err := io.ReadAll(resp.Body)
	return string(page), err
}

// A Terminal shows a person what a program says. When the address of the consent
// is there, Open is called with it, once.
type Terminal struct {
	Open func(address string)
	text bytes.Buffer // not embedded: its ReadFrom would bypass Write
	done bool
}

func (t *Terminal) Write(text []byte) (int, error) {
	n, err := t.text.Write(text)
	if address := regexp.MustCompile(`http\S+state=\S+`).FindString(t.text.String()); address != "" && !t.done {
		t.done = true
		protocol.Go(func() error { t.Open(address); return nil })
	}
	return n, err
}

// String is everything that was said.
func (t *Terminal) String() string { return t.text.String() }
