package main

import (
	_ "embed"
	"errors"
	"html/template"
	"net/http"
)

// A consentError is a sentence for the member's browser and for the terminal:
// what happened, why, and what to do.
type consentError struct{ Title, Reason, Remedy string }

func (e *consentError) Error() string { return e.Title + ". " + e.Reason + " " + e.Remedy }

// A page is what the member sees in the end.
type page struct {
	Error   *consentError // nil: it went well
	Name    string
	Streams []pageStream
	Closed  int // of the streams
}

type pageStream struct {
	Name  string
	Lacks string // the scope that would open it; empty: it is open
}

func (c *callback) describe(granted consent, err error) page {
	if err != nil {
		var known *consentError
		if !errors.As(err, &known) {
			known = &consentError{"It did not work", err.Error(), "Run source authorize again."}
		}
		return page{Error: &consentError{c.clean(known.Title), c.clean(known.Reason), c.clean(known.Remedy)}}
	}
	p := page{Name: granted.name}
	for _, st := range streams {
		s := pageStream{st.name, granted.closedBy(st)}
		if s.Lacks != "" {
			p.Closed++
		}
		p.Streams = append(p.Streams, s)
	}
	return p
}

//go:embed authorize.html
var authorizeHTML string

var authorizePage = template.Must(template.New("authorize").Parse(authorizeHTML))

func showPage(w http.ResponseWriter, status int, p page) {
	for name, value := range map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"Cache-Control":           "no-store",
		"Referrer-Policy":         "no-referrer", // the address has the code in it
		"X-Content-Type-Options":  "nosniff",
	} {
		w.Header().Set(name, value)
	}
	w.WriteHeader(status)
	authorizePage.Execute(w, p) //nolint:errcheck // the browser went away
}
