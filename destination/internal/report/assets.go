package report

import (
	"crypto/sha256"
	_ "embed" // the parts of the page
	"encoding/base64"
)

var (
	//go:embed page.css
	pageCSS string
	//go:embed page.js
	pageJS string

	//go:embed uplot/uPlot.iife.min.js
	uplotJS string
	//go:embed uplot/uPlot.min.css
	uplotCSS string
	//go:embed uplot/LICENSE
	uplotLicence string // which wants to be in every copy
)

// policy is the content security policy of the page: it loads nothing, and runs and shows
// what is listed here.
var policy = "default-src 'none'; img-src data:; base-uri 'none'; form-action 'none'; " +
	"script-src " + hash(uplotJS) + " " + hash(pageJS) + "; style-src " + hash(uplotCSS) + " " + hash(pageCSS)

// hash is the source expression of an inline script or style.
func hash(text string) string {
	sum := sha256.Sum256([]byte(text))
	return "'sha256-" + base64.StdEncoding.EncodeToString(sum[:]) + "'"
}
