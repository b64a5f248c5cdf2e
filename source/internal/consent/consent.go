// Package consent gets a member's consent and the first tokens: OAuth's
// authorization code grant with PKCE (RFC 7636), as RFC 8252 describes it for
// programs on a person's machine. It is the verb authorize.
//
// Glossary:
//   - target: where the tokens go, a configuration, a token file or a secret.
//   - problem: what went wrong, why, and what to do, as the browser and the terminal show it.
package consent

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

	"github.com/ingest-connectors/whoop-iceberg/internal/progress"
	"github.com/ingest-connectors/whoop-iceberg/internal/redact"
	"github.com/ingest-connectors/whoop-iceberg/protocol/cli"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
)

// offline is the scope without which WHOOP gives no refresh token.
const offline = "offline"

// requestTimeout is how long the member waits for WHOOP to answer one of our
// requests.
const requestTimeout = 30 * time.Second

// A Stream is what a consent can open.
type Stream struct {
	Name   string
	Scopes []string // that it needs
}

// authorization is one run of the verb.
type authorization struct {
	clientID, clientSecret string
	scopes                 string
	redirect               string
	paste                  bool
	timeout                time.Duration
	apiURL                 string
	printTokens            bool

	// Where the tokens go.
	config, tokenFile, secret, region string

	streams   []Stream
	userAgent string
	http      http.RoundTripper      // nil: http.DefaultTransport
	browse    func(url string) error // opens a browser, if there is one
	getenv    func(string) string
	stdin     io.Reader
	in        *bufio.Reader // over stdin
	terminal  io.Writer     // what the person sees; stdout is for the result
	program   string        // how it was called
	progress  *progress.Progress
	secrets   redact.Redactor
}

// Command is the verb that gets a consent for the given streams. Requests carry
// userAgent.
func Command(streams []Stream, userAgent string) cli.Command {
	return cli.Command{
		Name:    "authorize",
		Summary: "lets a member consent in the browser, and stores the tokens",
		Details: "The source needs this once. The tokens go into a configuration, into a file that it names, or " +
			"into a secret of AWS Secrets Manager. If WHOOP_CLIENT_SECRET is not set, you are asked for the " +
			"secret of your app; typing is hidden.",
		Examples: []string{
			"authorize --config source.json --token-file /home/me/whoop.json",
			"authorize --config source.json --secret-id whoop --region eu-central-1 --paste",
		},
		Progress: true,
		New: func(flags *flag.FlagSet) func(context.Context, cli.Env) error {
			a := &authorization{streams: streams, userAgent: userAgent}
			a.browse = a.openBrowser
			a.register(flags)
			return a.run
		},
	}
}

func (a *authorization) register(flags *flag.FlagSet) {
	flags.StringVar(&a.config, "config", "", "configuration `FILE`: the tokens go into it, or it names their place; it is created if it does not exist")
	flags.StringVar(&a.tokenFile, "token-file", "", "store the tokens in this `FILE`")
	flags.StringVar(&a.secret, "secret-id", "", "store the tokens in this secret of AWS Secrets Manager (`NAME` or ARN)")
	flags.StringVar(&a.region, "region", "", "AWS `REGION` of the secret")
	flags.StringVar(&a.clientID, "client-id", "", "`ID` of your app at developer.whoop.com; the default is the one stored with the tokens, then WHOOP_CLIENT_ID, then a prompt")
	flags.StringVar(&a.clientSecret, "client-secret", "", "`SECRET` of the same app; other users of this machine can see it here, so use WHOOP_CLIENT_SECRET or the prompt instead")
	flags.StringVar(&a.redirect, "redirect", "http://127.0.0.1:8321/callback", "redirect `URL`, exactly as the app has registered it; for https, a temporary certificate is made")
	flags.BoolVar(&a.paste, "paste", false, "do not listen for the redirect, but ask for the address that the browser ends at (for machines without a browser)")
	flags.StringVar(&a.scopes, "scopes", strings.Join(append(a.allScopes(), offline), " "), "`SCOPES` to ask for; offline is always added")
	flags.DurationVar(&a.timeout, "timeout", 5*time.Minute, "how long to wait for the consent")
	flags.StringVar(&a.apiURL, "api-url", "", "`ADDRESS` of WHOOP or of a sandbox (default: that of the configuration, or "+config.Default().APIURL+")")
	flags.BoolVar(&a.printTokens, "print-tokens", false, "print a configuration that contains the tokens")
}

// allScopes are those that the streams need.
func (a *authorization) allScopes() []string {
	var all []string
	for _, st := range a.streams {
		all = append(all, st.Scopes...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

func (a *authorization) run(ctx context.Context, env cli.Env) error {
	a.program, a.progress = env.Name, env.Progress
	a.getenv, a.stdin, a.in, a.terminal = env.Getenv, env.Stdin, bufio.NewReader(env.Stdin), a.secrets.Writer(env.Stderr)
	err := a.authorize(ctx, env.Stdout)
	switch {
	case errors.Is(err, context.Canceled):
		return errors.New("interrupted before there were tokens; nothing was stored")
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
		return fmt.Errorf("--timeout %v leaves no time for the consent; give a duration such as 5m", a.timeout)
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

	waiting, cancel := context.WithTimeoutCause(ctx, a.timeout, a.timeoutError())
	defer cancel()
	got, err := a.receive(waiting, r)
	a.progress.End()
	if err != nil {
		return err
	}
	granted, err := a.redeem(ctx, r, got.params, to)
	got.show(granted, err)
	if err != nil {
		return err
	}
	return a.report(stdout, granted, to)
}

// parseScopes returns the scopes to ask for. WHOOP decides whether the app may.
func (a *authorization) parseScopes() ([]string, error) {
	known := append(a.allScopes(), offline)
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

// timeoutError is the error when no consent comes in time.
func (a *authorization) timeoutError() error {
	return &problem{
		"No consent came within " + a.timeout.String(), "If WHOOP showed an error instead of a question: the app must have registered exactly the redirect URL " + a.redirect + ", and the scopes.",
		"Run source authorize again, with a longer --timeout if necessary.",
	}
}

// report shows on the terminal what the page shows in the browser, and where the
// tokens are.
func (a *authorization) report(stdout io.Writer, g grant, to *target) error {
	if g.memberName != "" {
		fmt.Fprintf(a.terminal, "Connected to WHOOP as %s.\n", g.memberName)
	} else {
		fmt.Fprintln(a.terminal, "Connected to WHOOP.")
	}
	fmt.Fprintf(a.terminal, "Granted: %s\n", strings.Join(g.scopes, " "))
	var open []string
	for _, st := range a.streams {
		if scope := g.missingScope(st); scope != "" {
			fmt.Fprintf(a.terminal, "Closed:  %s, which needs %s\n", st.Name, scope)
		} else {
			open = append(open, st.Name)
		}
	}
	fmt.Fprintf(a.terminal, "Open:    %s\n", strings.Join(open, ", "))
	for _, place := range to.places() {
		fmt.Fprintf(a.terminal, "Stored:  %s\n", place)
	}
	if path := to.exposed(); path != "" {
		fmt.Fprintf(a.terminal, "Warning: other users of this machine can read it. Run chmod 600 %s\n", path)
	}
	if to.path != "" {
		fmt.Fprintf(a.terminal, "Next:    %s check --config %s\n", a.program, to.path)
	}
	if !a.printTokens {
		return nil
	}
	printed := *to
	printed.store = nil // so that the configuration contains the tokens
	document, err := printed.configuration(g.tokens)
	if err != nil {
		return err
	}
	out := json.NewEncoder(stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(document)
}
