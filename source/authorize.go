package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
)

// offline is the scope without which WHOOP gives no refresh token.
const offline = "offline"

// answerTimeout is that of WHOOP's answers to us, while the member waits.
const answerTimeout = 30 * time.Second

// authorization is one run of the verb that gets a member's consent: OAuth's
// authorization code grant, with PKCE (RFC 7636), as RFC 8252 has it for programs
// on a person's machine.
type authorization struct {
	clientID, clientSecret          string
	scopes                          string
	redirect                        string
	paste                           bool
	timeout                         time.Duration
	config, tokenFile, secret, area string // where to
	apiURL                          string
	printTokens                     bool

	http    http.RoundTripper      // nil: http.DefaultTransport
	browse  func(url string) error // opens a browser, if there is one
	getenv  func(string) string
	in      *bufio.Reader
	stdin   io.Reader // that in reads from
	say     io.Writer // to the person; stdout is for the result
	secrets protocol.Redactor
}

// authorizeCommand is the verb for the one-time consent.
func authorizeCommand() protocol.Command {
	return protocol.Command{
		Name:    "authorize",
		Summary: "let a member consent in the browser, and put the tokens where the source finds them",
		New: func(flags *flag.FlagSet) func(context.Context, protocol.Env) error {
			a := &authorization{}
			a.browse = a.openBrowser
			a.register(flags)
			return a.run
		},
	}
}

func (a *authorization) register(flags *flag.FlagSet) {
	flags.StringVar(&a.config, "config", "", "configuration `file` to put the tokens into, or to name where they are; made if it is not there")
	flags.StringVar(&a.tokenFile, "token-file", "", "keep the tokens in this `file`")
	flags.StringVar(&a.secret, "secret-id", "", "keep the tokens in this secret of AWS Secrets Manager (`name` or ARN)")
	flags.StringVar(&a.area, "region", "", "AWS `region` of the secret")
	flags.StringVar(&a.clientID, "client-id", "", "of your app at developer.whoop.com; else from where the tokens are, from WHOOP_CLIENT_ID, or asked for")
	flags.StringVar(&a.clientSecret, "client-secret", "", "of the same app; other users of this machine can see it here: better WHOOP_CLIENT_SECRET, or wait to be asked")
	flags.StringVar(&a.redirect, "redirect", "http://127.0.0.1:8321/callback", "redirect `URL` that the app has registered, to the letter; https works with a certificate made on the spot")
	flags.BoolVar(&a.paste, "paste", false, "receive nothing: ask for the address that the browser ends at (for machines without a browser)")
	flags.StringVar(&a.scopes, "scopes", strings.Join(append(allScopes(), offline), " "), "what to ask for; offline is always asked for")
	flags.DurationVar(&a.timeout, "timeout", 5*time.Minute, "how long to wait for the consent")
	flags.StringVar(&a.apiURL, "api-url", "", "address of WHOOP or a sandbox (default that of the configuration, "+config.Default().APIURL+")")
	flags.BoolVar(&a.printTokens, "print-tokens", false, "print a configuration with the tokens in it")
}

// allScopes are those that streams need.
func allScopes() []string {
	var all []string
	for _, st := range streams {
		all = append(all, st.scopes...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (a *authorization) run(ctx context.Context, env protocol.Env) error {
	if len(env.Args) > 0 {
		return fmt.Errorf("%q belongs to no flag; source authorize --help lists them", env.Args[0])
	}
	a.getenv, a.stdin, a.in, a.say = env.Getenv, env.Stdin, bufio.NewReader(env.Stdin), a.secrets.Writer(env.Stderr)
	err := a.authorize(ctx, env.Stdout)
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted before the tokens were there; nothing was stored")
	case err != nil:
		return errors.New(a.secrets.Clean(err.Error()))
	}
	return nil
}

func (a *authorization) authorize(ctx context.Context, stdout io.Writer) error {
	a.secrets.Add(a.clientSecret, a.env("WHOOP_CLIENT_SECRET"))
	a.secrets.AddURL(a.apiURL, a.redirect)
	scopes, err := a.parseScopes()
	if err != nil {
		return err
	}
	if a.timeout <= 0 {
		return fmt.Errorf("--timeout %v leaves no time for the consent", a.timeout)
	}
	to, err := a.openTarget(ctx)
	if err != nil {
		return err
	}
	client, err := a.client(to.client)
	if err != nil {
		return err
	}
	a.secrets.Add(client.ClientSecret)
	r := newRequest(client, to.apiURL, a.redirect, scopes)
	a.secrets.Add(r.verifier)

	waiting, cancel := context.WithTimeoutCause(ctx, a.timeout, a.late())
	defer cancel()
	got, err := a.await(waiting, r)
	if err != nil {
		return err
	}
	granted, err := a.finish(ctx, r, got.params, to)
	got.show(granted, err)
	if err != nil {
		return err
	}
	return a.report(stdout, granted, to)
}

// parseScopes returns what to ask for. It is for WHOOP to say whether the app may.
func (a *authorization) parseScopes() ([]string, error) {
	known := append(allScopes(), offline)
	asked := strings.FieldsFunc(a.scopes, func(r rune) bool { return r == ' ' || r == ',' })
	for _, scope := range asked {
		if !slices.Contains(known, scope) {
			return nil, fmt.Errorf("--scopes: there is no scope %q; there are: %s", scope, strings.Join(known, " "))
		}
	}
	if !slices.Contains(asked, offline) {
		asked = append(asked, offline)
	}
	return asked, nil
}

// late is the error of a consent that did not come in time.
func (a *authorization) late() error {
	return &consentError{
		"No consent came within " + a.timeout.String(), "If WHOOP showed an error instead of asking: the app must have registered exactly the redirect URL " + a.redirect + ", and the scopes.",
		"Run source authorize again, with a longer --timeout if need be.",
	}
}

// report tells on the terminal what the page tells in the browser, and where the
// tokens are.
func (a *authorization) report(stdout io.Writer, c consent, to *target) error {
	if c.name != "" {
		fmt.Fprintf(a.say, "Connected to WHOOP as %s.\n", c.name)
	} else {
		fmt.Fprintln(a.say, "Connected to WHOOP.")
	}
	fmt.Fprintf(a.say, "Granted: %s\n", strings.Join(c.scopes, " "))
	var open []string
	for _, st := range streams {
		if lacks := c.closedBy(st); lacks != "" {
			fmt.Fprintf(a.say, "Closed:  %s, which needs %s\n", st.name, lacks)
		} else {
			open = append(open, st.name)
		}
	}
	fmt.Fprintf(a.say, "Open:    %s\n", strings.Join(open, ", "))
	for _, place := range to.places() {
		fmt.Fprintf(a.say, "Stored:  %s\n", place)
	}
	if to.path != "" {
		fmt.Fprintf(a.say, "Next:    source check --config %s\n", to.path)
	}
	if !a.printTokens {
		return nil
	}
	printed := *to
	printed.store = nil // so that the tokens are in it
	document, err := printed.configuration(c.pair)
	if err != nil {
		return err
	}
	out := json.NewEncoder(stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(document)
}
