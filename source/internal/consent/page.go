package consent

import (
	_ "embed"
	"errors"
	"html/template"
	"net/http"
)

// A problem is an error for the member's browser and for the terminal.
type problem struct{ Title, Reason, Remedy string }

func (e *problem) Error() string { return e.Title + ". " + e.Reason + " " + e.Remedy }

// A page is what the member's browser ends at.
type page struct {
	Error   *problem // nil: the tokens are stored
	Name    string
	Streams []pageStream
	Closed  int // number of streams that are not open
}

type pageStream struct {
	Name  string
	Lacks string // the scope that would open it; empty: it is open
}

func (c *callback) describe(g grant, err error) page {
	if err != nil {
		var known *problem
		if !errors.As(err, &known) {
			known = &problem{"It did not work", err.Error(), "Run source authorize again."}
		}
		return page{Error: &problem{c.clean(known.Title), c.clean(known.Reason), c.clean(known.Remedy)}}
	}
	p := page{Name: g.memberName}
	for _, st := range c.streams {
		s := pageStream{st.Name, g.missingScope(st)}
		if s.Lacks != "" {
			p.Closed++
		}
		p.Streams = append(p.Streams, s)
	}
	return p
}

//go:embed page.html
var pageHTML string

var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

func showPage(w http.ResponseWriter, status int, p page) {
	for name, value := range map[string]string{
		"Content-Type":            "text/html; charset=utf-8",
		"Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
		"Cache-Control":           "no-store",
		"Referrer-Policy":         "no-referrer", // the address contains the code
		"X-Content-Type-Options":  "nosniff",
	} {
		w.Header().Set(name, value)
	}
	w.WriteHeader(status)
	pageTemplate.Execute(w, p) //nolint:errcheck // the browser is gone
}
