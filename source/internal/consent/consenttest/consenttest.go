// Package consenttest is a member at a browser.
package consenttest

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
)

// Decide presses a button of the consent page at an address. It returns the page that
// the browser ends at or, if it does not follow redirects, the address.
func Decide(address, decision string, follow bool) (string, error) {
	browser := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}}, Timeout: 30 * time.Second}
	if !follow {
		browser.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	u, err := url.Parse(address)
	if err != nil {
		return "", err
	}
	if _, _, err := send(browser, http.MethodGet, address, ""); err != nil {
		return "", err
	}
	form := u.Query()
	form.Set("decision", decision)
	u.RawQuery = ""
	page, location, err := send(browser, http.MethodPost, u.String(), form.Encode())
	if !follow {
		return location, err
	}
	return page, err
}

func send(browser *http.Client, method, address, form string) (page, location string, err error) {
	req, err := http.NewRequestWithContext(context.Background(), method, address, strings.NewReader(form))
	if err != nil {
		return "", "", err
	}
	req.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	req.Header.Set("User-Agent", "Mozilla/5.0")
	resp, err := browser.Do(req)
	if err != nil {
		return "", "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), resp.Header.Get("Location"), err
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
		goroutine.Start(func() error { t.Open(address); return nil })
	}
	return n, err
}

// String is everything that was said.
func (t *Terminal) String() string { return t.text.String() }
