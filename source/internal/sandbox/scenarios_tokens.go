package sandbox

import (
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

const (
	tokenPath = "/oauth/oauth2/token"
	apiPath   = "/developer"
)

const (
	seconds = member.Duration(time.Second)
	minutes = member.Duration(time.Minute)
	hours   = member.Duration(time.Hour)
	days    = member.Duration(24 * time.Hour)
)

var consentScenarios = []Scenario{
	{
		Name: "consent-granted", About: "The authorization endpoint grants without a page, for clients without a browser.",
		Profile: Profile{Consent: ConsentGranted},
	},
	{
		Name: "consent-denied", About: "The authorization endpoint denies without a page.",
		Profile: Profile{Consent: ConsentDenied},
	},
	{
		Name: "consent-forbidden", About: "A denial is request_forbidden, as WHOOP says when an account or a scope is not allowed.",
		Profile: Profile{Consent: ConsentDenied, DenialIsForbidden: true},
	},
	{
		Name: "scopes-withheld", About: "The member grants fewer scopes than were asked for.",
		Profile: Profile{WithheldScopes: []string{"read:sleep", "read:workout"}},
	},
	{
		Name: "offline-withheld", About: "The member does not grant offline, so no refresh token is given.",
		Profile: Profile{WithheldScopes: []string{"offline"}},
	},
	{
		Name: "state-forged", About: "The browser comes back with a state that the client never sent.",
		Profile: Profile{ForgedState: true},
	},
}

var tokenScenarios = []Scenario{
	{
		Name: "access-token-expires-while-paging", About: "Each request takes 2 s and an access token lives for 9 s.",
		Profile: Profile{AccessTokenTTL: 9 * seconds, Tick: 2 * seconds},
	},
	{
		Name: "reuse-revokes-family", About: "A refresh token that comes twice ends the newest pair too.",
		Profile: Profile{Reuse: ReuseRevokesFamily},
	},
	{
		Name: "reuse-grace", About: "A refresh token works again for some seconds after its first use.",
		Profile: Profile{Reuse: ReuseGrace},
	},
	{
		Name: "refresh-keeps-token", About: "The answer to a refresh has no refresh token: the old one stays good.",
		Profile: Profile{RefreshAnswer: RefreshKeeps},
	},
	{
		Name: "refresh-loses-token", About: "The answer to a refresh has no refresh token, and the old one is dead.",
		Profile: Profile{RefreshAnswer: RefreshLoses}, Ends: true,
	},
	{
		Name: "refresh-token-expires", About: "A refresh token dies after 30 days without use.",
		Profile: Profile{RefreshTokenTTL: 30 * days}, Ends: true,
	},
	{
		Name: "expires-in-text", About: `A token response has "expires_in": "3600".`,
		Profile: Profile{ExpiresIn: ExpiresInText},
	},
	{
		Name: "expires-in-missing", About: "A token response has no expires_in.",
		Profile: Profile{ExpiresIn: ExpiresInMissing},
	},
	{
		Name: "clock-ahead", About: "The server's clock is 10 minutes ahead of the client's.",
		Profile: Profile{Skew: 10 * minutes},
	},
	{
		Name: "clock-behind", About: "The server's clock is 10 minutes behind the client's.",
		Profile: Profile{Skew: -10 * minutes},
	},
	{
		Name: "refresh-500", About: "Three refreshes fail with 500; the token is not spent.",
		Faults: []Fault{{Path: tokenPath, Action: Replace, Status: 500, Times: 3}},
	},
	{
		Name: "refresh-503", About: "Three refreshes fail with 503; the token is not spent.",
		Faults: []Fault{{Path: tokenPath, Action: Replace, Status: 503, Times: 3}},
	},
	{
		Name: "refresh-reset", About: "The connection of a refresh is reset before the token is spent.",
		Faults: []Fault{{Path: tokenPath, Action: Reset}},
	},
	{
		Name: "refresh-hangs", About: "A refresh is never answered; the token is not spent.",
		Faults: []Fault{{Path: tokenPath, Action: Hang}},
	},
	{
		Name: "refresh-answer-lost", About: "The connection of a refresh is reset after the token is spent.",
		Faults: []Fault{{Path: tokenPath, Action: Reset, Served: true}}, Ends: true,
	},
	{
		Name: "refresh-answer-lost-inactive", About: "The answer to a refresh is lost, and the server refuses a second one with token_inactive and 401.",
		Profile: Profile{Reuse: ReuseInactive}, Faults: []Fault{{Path: tokenPath, Action: Reset, Served: true}}, Ends: true,
	},
	{
		Name: "refresh-answer-cut", About: "The answer to a refresh ends in the middle; the token is spent.",
		Faults: []Fault{{Path: tokenPath, Action: Cut, Bytes: 20}}, Ends: true,
	},
	{
		Name: "refresh-answer-hangs", About: "A refresh is never answered, but the token is spent.",
		Faults: []Fault{{Path: tokenPath, Action: Hang, Served: true}}, Ends: true,
	},
	{
		Name: "refresh-answer-503", About: "A refresh fails with 503, but the token is spent.",
		Faults: []Fault{{Path: tokenPath, Action: Replace, Status: 503, Served: true}}, Ends: true,
	},
	{
		Name: "refresh-answer-lost-in-grace", About: "The answer to a refresh is lost, and the server forgives a second one at once.",
		Profile: Profile{Reuse: ReuseGrace}, Faults: []Fault{{Path: tokenPath, Action: Reset, Served: true}},
	},
	{
		Name: "consent-revoked", About: "The member withdraws every consent in an hour.",
		Events: []member.Event{{Do: member.Revoke, After: hours}}, Ends: true,
	},
	{
		Name: "good-token-refused", About: "A token that was fine one request ago is refused with 401, once.",
		Faults: []Fault{{
			Path: apiPath, Skip: 1, Action: Replace, Status: 401,
			Header: map[string]string{"Content-Type": "text/plain"}, Body: "Authorization was not valid",
		}},
	},
	{
		Name: "endpoint-refused", About: "One endpoint answers 401 to every token, with another text than usual.",
		Faults: []Fault{{
			Path: "/developer/v2/recovery", Times: -1, Action: Replace, Status: 401,
			Header: map[string]string{"Content-Type": "text/plain"}, Body: "Unauthorized",
		}},
	},
	{
		Name: "missing-scope-forbidden", About: "A missing scope is 403, not 401.",
		Profile: Profile{MissingScopeForbidden: true},
	},
}
