package consent

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"

	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
	"github.com/ingest-connectors/whoop-iceberg/protocol/spec"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/config"
	"github.com/ingest-connectors/whoop-iceberg/source/internal/tokens"
)

// A target is where the tokens go: into a configuration, or to the place that it
// names.
type target struct {
	path        string                     // of the configuration; "": there is none
	document    map[string]json.RawMessage // the configuration as it is, or will be
	credentials config.Credentials
	apiURL      string
	store       tokens.Store         // nil: the configuration itself
	client      tokens.Credentials   // the client stored there before
	references  map[string]reference // credentials that the configuration takes from the environment
}

// openTarget opens the target and checks that it is writable, before the member
// is asked.
func (a *authorization) openTarget(ctx context.Context) (*target, error) {
	switch {
	case a.config == "-":
		return nil, errors.New("authorize writes the configuration: --config needs the path of a file, not -")
	case a.config == "" && a.tokenFile == "" && a.secret == "" && !a.printTokens:
		return nil, errors.New("choose where the tokens go: --config FILE, --token-file FILE or --secret-id NAME, or --print-tokens to print them")
	case a.tokenFile != "" && a.secret != "":
		return nil, errors.New("the tokens can go to one place only: --token-file or --secret-id")
	case a.region != "" && a.secret == "":
		return nil, errors.New("--region needs --secret-id")
	}
	t := &target{path: a.config, document: map[string]json.RawMessage{}}
	if err := t.readConfig(a.getenv); err != nil {
		return nil, err
	}
	if a.apiURL != "" {
		t.apiURL = a.apiURL
	}
	if !config.IsOrigin(t.apiURL) {
		return nil, fmt.Errorf("the address of WHOOP, %q, must be a scheme and a host, such as %s", t.apiURL, config.Default().APIURL)
	}
	if !config.IsConfidential(t.apiURL) {
		return nil, fmt.Errorf("the address of WHOOP, %s, begins with http://, which would show the tokens to others on the network; use https://", t.apiURL)
	}
	t.apiURL = strings.TrimRight(t.apiURL, "/")
	switch {
	case a.tokenFile != "":
		// A sync may run in another directory.
		path, err := filepath.Abs(a.tokenFile)
		if err != nil {
			return nil, fmt.Errorf("--token-file %s: %w", a.tokenFile, err)
		}
		t.credentials = config.Credentials{AuthType: config.File, FileCredentials: config.FileCredentials{Path: path}}
	case a.secret != "":
		t.credentials = config.Credentials{AuthType: config.Secret, SecretCredentials: config.SecretCredentials{SecretID: a.secret, Region: a.region}}
	case t.credentials.AuthType == "":
		t.credentials.AuthType = config.OAuth
	}
	return t, t.openStore(ctx)
}

// readConfig reads the configuration, if there is one yet.
func (t *target) readConfig(getenv func(string) string) error {
	c := config.Default()
	if t.path != "" {
		raw, err := os.ReadFile(t.path)
		switch {
		case errors.Is(err, fs.ErrNotExist):
			raw = []byte("{}")
		case err != nil:
			return fmt.Errorf("reading the configuration: %w", err)
		}
		raw = bytes.TrimPrefix(raw, []byte("\ufeff"))
		if err := json.Unmarshal(raw, &t.document); err != nil || t.document == nil {
			return fmt.Errorf("the configuration %s is not a JSON object", t.path)
		}
		expanded, err := spec.ExpandVariables(raw, getenv)
		if err != nil {
			return err
		}
		if err := spec.DecodeConfig(expanded, &c); err != nil {
			return err
		}
		t.references = references(raw, expanded)
	}
	t.credentials, t.apiURL = c.Credentials, c.APIURL
	t.client = tokens.Credentials{ClientID: c.Credentials.ClientID, ClientSecret: c.Credentials.ClientSecret}
	return nil
}

// A reference is a setting with a variable, such as ${SECRET}, and what that stands for.
type reference struct{ text, value any }

// references are the credentials that the expansion of variables has changed.
func references(raw, expanded json.RawMessage) map[string]reference {
	var before, after struct {
		Credentials map[string]any `json:"credentials"`
	}
	if json.Unmarshal(raw, &before) != nil || json.Unmarshal(expanded, &after) != nil {
		return nil // there is no object with credentials
	}
	changed := map[string]reference{}
	for key, text := range before.Credentials {
		if value, ok := after.Credentials[key].(string); ok && text != value {
			changed[key] = reference{text, value}
		}
	}
	return changed
}

func (t *target) openStore(ctx context.Context) error {
	if t.path != "" {
		if err := tokens.CheckWritable(t.path); err != nil {
			return fmt.Errorf("the configuration %s cannot be written: %w", t.path, err)
		}
	}
	c := t.credentials
	if c.AuthType == config.File && t.path != "" && samePath(c.Path, t.path) {
		return fmt.Errorf("the tokens and the configuration need separate files, but both are %s", t.path)
	}
	if t.store = c.Store(); t.store == nil {
		if c.AuthType != config.OAuth {
			return c.Validate()
		}
		return nil
	}
	if c.AuthType != config.File || c.Path == "" { // the file need not exist yet
		if err := c.Validate(); err != nil {
			return err
		}
	}
	stored, err := t.store.Load(ctx)
	switch {
	case err == nil:
		t.client = stored
		return t.store.Check(ctx)
	case !errors.Is(err, tokens.ErrNotStored):
		return err
	case c.AuthType == config.File:
		if err := tokens.CheckWritable(c.Path); err != nil {
			return fmt.Errorf("the token file %s cannot be written: %w", c.Path, err)
		}
	}
	return nil
}

// samePath reports whether two paths lead to the same file. It need not exist.
func samePath(a, b string) bool {
	fileA, err := os.Stat(a)
	fileB, oerr := os.Stat(b)
	if err == nil && oerr == nil {
		return os.SameFile(fileA, fileB)
	}
	a, err = filepath.Abs(a)
	b, oerr = filepath.Abs(b)
	return err == nil && oerr == nil && a == b
}

// save stores the tokens, and a configuration with which the source finds them.
func (t *target) save(ctx context.Context, c tokens.Credentials) error {
	if t.store != nil {
		if err := t.store.Save(ctx, c); err != nil {
			return err
		}
	}
	if t.path == "" {
		return nil
	}
	document, err := t.configuration(c)
	if err != nil {
		return err
	}
	return config.Write(t.path, document)
}

// places says what was written where.
func (t *target) places() []string {
	var places []string
	switch {
	case t.store == nil:
	case t.credentials.AuthType == config.File:
		places = append(places, "the tokens in "+t.credentials.Path)
	default:
		places = append(places, "the tokens in the secret "+t.credentials.SecretID)
	}
	switch {
	case t.path == "":
	case t.store == nil:
		places = append(places, "the tokens in the configuration "+t.path)
	default:
		places = append(places, "the configuration in "+t.path)
	}
	return places
}

// exposed returns the file with the tokens if others can read it, or "".
func (t *target) exposed() string {
	path := ""
	switch {
	case t.store == nil:
		path = t.path
	case t.credentials.AuthType == config.File:
		path = t.credentials.Path
	}
	if info, err := os.Stat(path); err != nil || !info.Mode().IsRegular() || !osfile.OthersCanRead(info) {
		return ""
	}
	return path
}

// configuration returns the configuration with which the source finds the tokens:
// the one that was there before, with new credentials.
func (t *target) configuration(c tokens.Credentials) (map[string]json.RawMessage, error) {
	if t.store == nil {
		return t.with(oauthConfig(c))
	}
	credentials := map[string]any{"auth_type": t.credentials.AuthType}
	if t.credentials.AuthType == config.File {
		credentials["path"] = t.credentials.Path
	} else {
		for key, value := range map[string]string{
			"secret_id": t.credentials.SecretID, "region": t.credentials.Region,
			"role_arn": t.credentials.RoleARN, "external_id": t.credentials.ExternalID, "endpoint": t.credentials.Endpoint,
		} {
			if value != "" {
				credentials[key] = value
			}
		}
	}
	return t.with(credentials)
}

// oauthConfig returns credentials that contain the tokens.
func oauthConfig(c tokens.Credentials) map[string]any {
	credentials := map[string]any{
		"auth_type": config.OAuth, "client_id": c.ClientID, "client_secret": c.ClientSecret,
		"access_token": c.AccessToken, "refresh_token": c.RefreshToken,
	}
	if !c.ExpiresAt.IsZero() {
		credentials["token_expiry_date"] = c.ExpiresAt
	}
	return credentials
}

// with returns the configuration with these credentials.
func (t *target) with(credentials map[string]any) (map[string]json.RawMessage, error) {
	for key, r := range t.references {
		if credentials[key] == r.value {
			credentials[key] = r.text // what the environment holds does not belong into the file
		}
	}
	document := maps.Clone(t.document)
	if err := config.SetMember(document, "credentials", credentials); err != nil {
		return nil, err
	}
	isURL := func(key string) bool { return strings.EqualFold(key, "api_url") }
	if t.apiURL != config.Default().APIURL || slices.ContainsFunc(slices.Collect(maps.Keys(document)), isURL) {
		if err := config.SetMember(document, "api_url", t.apiURL); err != nil {
			return nil, err
		}
	}
	return document, nil
}

// client finds the app's id and secret: in a flag, with the stored tokens, in the
// environment, or by asking.
func (a *authorization) client(known tokens.Credentials) (tokens.Credentials, error) {
	c := tokens.Credentials{
		ClientID:     cmp.Or(a.clientID, known.ClientID, a.env("WHOOP_CLIENT_ID")),
		ClientSecret: cmp.Or(a.clientSecret, known.ClientSecret, a.env("WHOOP_CLIENT_SECRET")),
	}
	var err error
	if c.ClientID == "" {
		if c.ClientID, err = a.prompt("Client id", a.readLine); err != nil {
			return c, err
		}
	}
	if c.ClientSecret == "" {
		if c.ClientSecret, err = a.prompt("Client secret", a.readHidden); err != nil {
			return c, err
		}
	}
	return c, nil
}

func (a *authorization) env(name string) string {
	if a.getenv == nil {
		return ""
	}
	return a.getenv(name)
}

func (a *authorization) prompt(what string, read func() (string, error)) (string, error) {
	fmt.Fprintf(a.terminal, "%s of your app at developer.whoop.com: ", what)
	text, err := read()
	if text = strings.TrimSpace(text); text == "" {
		return "", errors.Join(fmt.Errorf("the %s is missing: type it when asked, or set WHOOP_%s or --%s",
			strings.ToLower(what), strings.ToUpper(strings.ReplaceAll(what, " ", "_")), strings.ToLower(strings.ReplaceAll(what, " ", "-"))), err)
	}
	return text, nil
}

// readLine reads one line. The last one need not end with a line feed.
func (a *authorization) readLine() (string, error) {
	text, err := a.in.ReadString('\n')
	if errors.Is(err, io.EOF) {
		err = nil
	}
	return text, err
}

// readHidden reads a line without showing it on the terminal.
func (a *authorization) readHidden() (string, error) {
	if f, ok := a.stdin.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		text, err := term.ReadPassword(int(f.Fd()))
		fmt.Fprintln(a.terminal)
		return string(text), err
	}
	return a.readLine()
}
