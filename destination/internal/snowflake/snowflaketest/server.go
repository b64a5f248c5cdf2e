// Package snowflaketest is a stand-in for Snowflake. It speaks the protocol of the
// drivers on loopback, lets users in as Snowflake does, parses the statements of the
// destination and of its administrators strictly, and knows databases, schemas,
// external volumes, catalog integrations, privileges, and Iceberg tables that another
// program writes, each with the metadata file at which Snowflake stands.
//
// It shares no code with the destination: a stand-in that did would share its mistakes.
package snowflaketest

import (
	"crypto"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// A Column is a column of a table as Snowflake shows it.
type Column struct{ Name, Type string }

// A Fault is what happens instead of the answer to a statement.
type Fault int

const (
	None        Fault = iota
	DropBefore        // the connection breaks, and nothing was done
	DropAfter         // the connection breaks, and the statement was done
	Hang              // there is no answer until the client gives up
	Unavailable       // the answer is that of a server that is overloaded
	Expired           // the session has expired and must be renewed
)

// Login is what [Account.Fault] gets for a login.
const Login = "(login)"

// User is somebody who may log in.
type User struct {
	PublicKey *rsa.PublicKey // of a key pair
	Token     string         // a programmatic access token
	Roles     []string       // the first is the default
}

// Account is an account of Snowflake. Its fields must be set before it is used.
type Account struct {
	URL   string
	Users map[string]*User
	// ClientID and ClientSecret are those of the authorization server at
	// URL/oauth/token, whose tokens are for OAuthUser.
	ClientID, ClientSecret, OAuthUser string
	// Read reads a metadata file. It returns an error if the file does not exist or
	// is not valid.
	Read func(location string) ([]Column, error)
	// Current returns the metadata file of a table in the catalog that a catalog
	// integration leads to; nil: there is none.
	Current func(namespace, table string) (location string, err error)
	// Fault says what happens to a statement; nil: nothing.
	Fault func(statement string) Fault
	// LinkStatus is what SYSTEM$CATALOG_LINK_STATUS says of each database that is
	// linked, and RefreshStatus what SYSTEM$AUTO_REFRESH_STATUS says of its tables.
	LinkStatus, RefreshStatus map[string]string

	name string
	objects
	statements []string
	sessions   map[string]*session
	answers    map[string]any // by request id: a repeated request is not done twice
	issued     map[string]bool
}

// A session is that of a user with a role.
type session struct{ user, role string }

// newAccount is an account without anything in it but ACCOUNTADMIN, and what answers
// its requests.
func newAccount(t testing.TB, name string) (*Account, http.Handler) {
	a := &Account{name: name, Users: map[string]*User{}, objects: newObjects(), sessions: map[string]*session{}, answers: map[string]any{}, issued: map[string]bool{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /session/v1/login-request", a.login)
	mux.HandleFunc("POST /queries/v1/query-request", a.query)
	mux.HandleFunc("POST /oauth/token", a.token)
	done := func(w http.ResponseWriter, _ *http.Request) { answer(w, map[string]any{"success": true}) }
	mux.HandleFunc("POST /queries/v1/abort-request", done)
	mux.HandleFunc("POST /session", done)
	mux.HandleFunc("POST /session/token-request", a.renew)
	mux.HandleFunc("POST /session/heartbeat", done)
	mux.HandleFunc("/", func(w http.ResponseWriter, r *http.Request) {
		t.Errorf("the driver sent %s %s", r.Method, r.URL.Path)
		w.WriteHeader(http.StatusNotFound)
	})
	return a, mux
}

// Statements lists the statements that users have sent so far.
func (a *Account) Statements() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return append([]string(nil), a.statements...)
}

// Run runs statements of an administrator, each of which ends with a semicolon at the
// end of a line.
func (a *Account) Run(script string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for statement := range strings.SplitSeq(script+"\n", ";\n") {
		if strings.TrimSpace(statement) == "" {
			continue
		}
		if _, err := a.execute(&session{role: "ACCOUNTADMIN"}, statement); err != nil {
			return fmt.Errorf("%s: %w", statement, err)
		}
	}
	return nil
}

func answer(w http.ResponseWriter, body any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(body) // the client may have gone
}

// refusal is Snowflake's answer to what it does not do.
func refusal(code, state, message string) map[string]any {
	return map[string]any{"success": false, "code": code, "message": message, "data": map[string]any{"queryId": "01b0", "sqlState": state}}
}

type loginData struct {
	AccountName   string         `json:"ACCOUNT_NAME"`
	LoginName     string         `json:"LOGIN_NAME"`
	Token         string         `json:"TOKEN"`
	Authenticator string         `json:"AUTHENTICATOR"`
	Parameters    map[string]any `json:"SESSION_PARAMETERS"`
	Environment   struct {
		OAuthType string `json:"OAUTH_TYPE"`
		Platform  []string
	} `json:"CLIENT_ENVIRONMENT"`
}

func (a *Account) login(w http.ResponseWriter, r *http.Request) {
	var body struct{ Data loginData }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		answer(w, refusal("390000", "08001", err.Error()))
		return
	}
	a.meet(Login, r, func() any {
		a.mu.Lock()
		defer a.mu.Unlock()
		return a.letIn(r, body.Data)
	}, w)
}

// letIn answers a login.
func (a *Account) letIn(r *http.Request, data loginData) any {
	name := strings.ToUpper(data.LoginName)
	if data.Authenticator == "" && data.Environment.OAuthType == "OAUTH_CLIENT_CREDENTIALS" {
		data.Authenticator = "OAUTH" // the driver leaves it out
	}
	if data.Authenticator == "OAUTH" {
		if !a.issued[data.Token] {
			return refusal("390303", "08001", "Invalid OAuth access token.")
		}
		name = a.OAuthUser
	}
	if data.Authenticator == "SNOWFLAKE_JWT" {
		name = subjectOf(data.Token) // nothing else says who it is
	}
	user := a.Users[name]
	switch {
	case data.Parameters["CLIENT_TELEMETRY_ENABLED"] != "false":
		return refusal("390000", "08001", "telemetry is on")
	case len(data.Environment.Platform) != 1 || data.Environment.Platform[0] != "disabled":
		return refusal("390000", "08001", "the driver has looked where it runs")
	case user == nil, !user.identified(a.name, name, data.Authenticator, data.Token):
		code := map[string]string{"SNOWFLAKE_JWT": "390144", "PROGRAMMATIC_ACCESS_TOKEN": "394400"}[data.Authenticator]
		return refusal(code, "08001", "The credentials are invalid.")
	default:
		role := user.Roles[0]
		if asked := r.URL.Query().Get("roleName"); asked != "" {
			role = storedName(asked)
		}
		if !contains(user.Roles, role) {
			return refusal("390189", "08001", "Role '"+role+"' specified in the connect string does not exist or not authorized.")
		}
		token := fmt.Sprintf("session-%d", len(a.sessions))
		a.sessions[token] = &session{name, role}
		return map[string]any{"success": true, "data": map[string]any{
			"token": token, "masterToken": "m" + token, "validityInSeconds": 3600, "masterValidityInSeconds": 14400, "sessionId": len(a.sessions),
			"parameters":  []any{map[string]any{"name": "CLIENT_TELEMETRY_ENABLED", "value": false}},
			"sessionInfo": map[string]any{"roleName": role},
		}}
	}
}

// identified reports whether a login has what proves that it is the user's.
func (u *User) identified(account, name, authenticator, token string) bool {
	switch authenticator {
	case "OAUTH":
		return true
	case "PROGRAMMATIC_ACCESS_TOKEN":
		return u.Token != "" && token == u.Token
	case "SNOWFLAKE_JWT":
		return u.PublicKey != nil && verifyJWT(token, account, name, u.PublicKey) == nil
	}
	return false
}

// subjectOf returns the user that a token claims to be of.
func subjectOf(token string) string {
	parts := strings.Split(token, ".")
	var claims struct{ Sub string }
	if len(parts) == 3 {
		text, err := base64.RawURLEncoding.DecodeString(parts[1])
		if err == nil && json.Unmarshal(text, &claims) == nil {
			_, user, _ := strings.Cut(claims.Sub, ".")
			return user
		}
	}
	return ""
}

// verifyJWT verifies the signature of a token and all that it claims.
func verifyJWT(token, account, user string, key *rsa.PublicKey) error {
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return fmt.Errorf("%d parts", len(parts))
	}
	var decoded [3][]byte
	for i, part := range parts {
		var err error
		if decoded[i], err = base64.RawURLEncoding.DecodeString(part); err != nil {
			return err
		}
	}
	var header struct{ Alg string }
	var claims struct {
		Iss, Sub string
		Iat, Exp int64
	}
	if err := json.Unmarshal(decoded[0], &header); err != nil {
		return err
	}
	if err := json.Unmarshal(decoded[1], &claims); err != nil {
		return err
	}
	hash := sha256.Sum256([]byte(parts[0] + "." + parts[1]))
	if err := rsa.VerifyPKCS1v15(key, crypto.SHA256, hash[:], decoded[2]); err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		return err
	}
	fingerprint := sha256.Sum256(public)
	subject := strings.ToUpper(account) + "." + user
	issuer := subject + ".SHA256:" + base64.StdEncoding.EncodeToString(fingerprint[:])
	if now := time.Now().Unix(); header.Alg != "RS256" || claims.Sub != subject || claims.Iss != issuer || claims.Exp < now || claims.Iat > now || claims.Exp-claims.Iat > 3600 {
		return fmt.Errorf("it claims %+v", claims)
	}
	return nil
}

// token is the token endpoint of an authorization server.
func (a *Account) token(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Connection", "close") // as below
	id, secret, _ := r.BasicAuth()
	if id != a.ClientID || secret != a.ClientSecret || r.FormValue("grant_type") != "client_credentials" || !strings.HasPrefix(r.FormValue("scope"), "session:role:") {
		w.WriteHeader(http.StatusUnauthorized)
		answer(w, map[string]any{"error": "invalid_client"})
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	issued := fmt.Sprintf("oauth-token-%d", len(a.issued))
	a.issued[issued] = true
	answer(w, map[string]any{"access_token": issued, "token_type": "Bearer", "expires_in": 600})
}

func (a *Account) query(w http.ResponseWriter, r *http.Request) {
	var body struct{ SQLText string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		answer(w, refusal("390000", "08001", err.Error()))
		return
	}
	a.meet(body.SQLText, r, func() any { return a.reply(r, body.SQLText) }, w)
}

// meet answers a request, unless it meets a fault.
func (a *Account) meet(statement string, r *http.Request, reply func() any, w http.ResponseWriter) {
	fault := None
	if a.Fault != nil {
		fault = a.Fault(statement)
	}
	switch fault {
	case DropBefore:
		panic(http.ErrAbortHandler)
	case Hang:
		<-r.Context().Done()
		return
	case Unavailable:
		w.Header().Set("Connection", "close") // one that is kept would keep time from passing
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	case Expired:
		answer(w, refusal("390112", "08001", "Session token has expired."))
		return
	}
	body := reply()
	if fault == DropAfter {
		panic(http.ErrAbortHandler)
	}
	answer(w, body)
}

// renew gives a session another token.
func (a *Account) renew(w http.ResponseWriter, r *http.Request) {
	var body struct{ OldSessionToken, RequestType string }
	if err := json.NewDecoder(r.Body).Decode(&body); err != nil {
		answer(w, refusal("390000", "08001", err.Error()))
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[body.OldSessionToken]
	if s == nil || body.RequestType != "RENEW" || sessionToken(r) != "m"+body.OldSessionToken {
		answer(w, refusal("390114", "08001", "Authentication token has expired."))
		return
	}
	token := body.OldSessionToken + "+"
	a.sessions[token] = s
	delete(a.sessions, body.OldSessionToken)
	answer(w, map[string]any{"success": true, "data": map[string]any{
		"sessionToken": token, "masterToken": "m" + token, "validityInSecondsST": 3600, "validityInSecondsMT": 14400, "sessionId": 1,
	}})
}

// sessionToken is the token with which a request is made.
func sessionToken(r *http.Request) string {
	return strings.TrimSuffix(strings.TrimPrefix(r.Header.Get("Authorization"), `Snowflake Token="`), `"`)
}

// reply does what a statement says, unless the same request has been answered.
func (a *Account) reply(r *http.Request, statement string) any {
	a.mu.Lock()
	defer a.mu.Unlock()
	s := a.sessions[sessionToken(r)]
	if s == nil {
		return refusal("390104", "08001", "The session is unknown.")
	}
	id := r.URL.Query().Get("requestId")
	if earlier, repeated := a.answers[id]; repeated {
		return earlier
	}
	a.statements = append(a.statements, statement)
	result, err := a.execute(s, statement)
	var reply any
	if err != nil {
		reply = refusal(err.code, err.state, err.message)
	} else {
		reply = map[string]any{"success": true, "data": result.wire()}
	}
	a.answers[id] = reply
	return reply
}

// A result has text in every column.
type result struct {
	columns []string
	rows    [][]any
}

func (r result) wire() map[string]any {
	types := []map[string]any{}
	for _, name := range r.columns {
		types = append(types, map[string]any{"name": name, "type": "text", "nullable": true, "length": 1 << 24})
	}
	rows := r.rows
	if rows == nil {
		rows = [][]any{}
	}
	return map[string]any{
		"queryId": "01b0c1d2-0000-0000-0000-000000000000", "queryResultFormat": "json", "rowtype": types, "rowset": rows,
		"total": len(rows), "returned": len(rows), "parameters": []any{}, "sqlState": "00000",
	}
}

func contains(all []string, one string) bool {
	for _, s := range all {
		if s == one {
			return true
		}
	}
	return false
}
