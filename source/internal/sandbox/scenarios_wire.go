package sandbox

import (
	"fmt"
	"net/http"
	"time"
)

var limitScenarios = []Scenario{
	{
		Name: "day-spent", About: "After 20 requests, the day's quota is spent and its reset is hours away.",
		Profile: Profile{RequestsPerMinute: 100, RequestsPerDay: 20},
	},
	{
		Name: "sliding-windows", About: "Requests count for exactly a minute each.",
		Profile: Profile{RequestsPerMinute: 100, RequestsPerDay: 10_000, SlidingWindows: true},
	},
	{
		Name: "retry-after", About: "429 carries Retry-After.",
		Profile: Profile{RequestsPerMinute: 10, RequestsPerDay: 10_000, RetryAfter: true},
	},
	{
		Name: "rate-headers-missing", About: "Nothing tells how much of the limits is left.",
		Profile: Profile{RequestsPerMinute: 10, RequestsPerDay: 10_000, RateHeaders: RateHeadersMissing},
	},
	{
		Name: "rate-headers-malformed", About: "The headers of the limits hold no numbers.",
		Profile: Profile{RequestsPerMinute: 10, RequestsPerDay: 10_000, RateHeaders: RateHeadersMalformed},
	},
	{
		Name: "token-requests-count", About: "Requests to the token endpoint count towards the limits.",
		Profile: Profile{RequestsPerMinute: 10, RequestsPerDay: 10_000, TokenRequestsCount: true},
	},
	{
		Name: "burst-429", About: "Five requests get 429 although the headers say that plenty is left.",
		Faults: []Fault{{Path: apiPath, Skip: 2, Times: 5, Action: Replace, Status: http.StatusTooManyRequests, Header: map[string]string{
			"X-RateLimit-Limit": "100, 100;window=60, 10000;window=86400", "X-RateLimit-Remaining": "97", "X-RateLimit-Reset": "58",
		}}},
	},
	{
		Name: "burst-429-bare", About: "Five requests get 429 without a header.",
		Faults: []Fault{{Path: apiPath, Skip: 2, Times: 5, Action: Replace, Status: http.StatusTooManyRequests}},
	},
}

// burst lets three requests in a row fail.
func burst(status int) Scenario {
	return Scenario{
		Name: fmt.Sprintf("burst-%d", status), About: fmt.Sprintf("Three requests get %d.", status),
		Faults: []Fault{{Path: apiPath, Skip: 2, Times: 3, Action: Replace, Status: status}},
	}
}

// cloudflare lets a request fail at what stands in front of WHOOP.
func cloudflare(status int, title string) Scenario {
	return Scenario{
		Name: fmt.Sprintf("cloudflare-%d", status), About: fmt.Sprintf("A request gets a page of Cloudflare: %s.", title),
		Faults: []Fault{{
			Path: apiPath, Skip: 1, Action: Replace, Status: status, Body: cloudflarePage(status, title),
			Header: map[string]string{"Content-Type": "text/html; charset=UTF-8", "Server": "cloudflare"},
		}},
	}
}

var wireScenarios = []Scenario{
	burst(http.StatusInternalServerError),
	burst(http.StatusBadGateway),
	burst(http.StatusServiceUnavailable),
	burst(http.StatusGatewayTimeout),
	cloudflare(http.StatusForbidden, "Attention Required!"),
	cloudflare(520, "Web server is returning an unknown error"),
	cloudflare(522, "Connection timed out"),
	cloudflare(524, "A timeout occurred"),
	{
		Name: "flaky-page", About: "The second page of sleeps fails with 500, once.",
		Faults: []Fault{{Path: "/developer/v2/activity/sleep", Query: "nextToken", Action: Replace, Status: 500}},
	},
	{
		Name: "stream-down", About: "Workouts fail with 500, always; everything else works.",
		Faults: []Fault{{Path: "/developer/v2/activity/workout", Times: -1, Action: Replace, Status: 500}},
	},
	{
		Name: "slow-answer", About: "An answer comes after half a second.",
		Faults: []Fault{{Path: apiPath, Delay: 500 * time.Millisecond}},
	},
	{
		Name: "hang", About: "A request is never answered.",
		Faults: []Fault{{Path: apiPath, Skip: 1, Action: Hang}},
	},
	{
		Name: "slow-drip", About: "An answer comes in pieces of 64 bytes, ten a second.",
		Faults: []Fault{{Path: apiPath, Action: Drip, Bytes: 64, Delay: 100 * time.Millisecond}},
	},
	{
		Name: "truncated", About: "An answer ends in the middle, with a Content-Length to match.",
		Faults: []Fault{{Path: apiPath, Action: Truncate, Bytes: 50}},
	},
	{
		Name: "cut", About: "An answer ends in the middle, before its Content-Length.",
		Faults: []Fault{{Path: apiPath, Action: Cut, Bytes: 50}},
	},
	{
		Name: "reset", About: "A connection is reset before an answer.",
		Faults: []Fault{{Path: apiPath, Action: Reset}},
	},
	{
		Name: "goaway", About: "The server answers and ends the connection: GOAWAY over HTTP/2, close over HTTP/1.1.",
		Faults: []Fault{{Path: apiPath, Action: Alter, Header: map[string]string{"Connection": "close"}}},
	},
	{
		Name: "invalid-utf8", About: "A text in an answer is not UTF-8.",
		Faults: []Fault{{Path: apiPath, Action: Garble}},
	},
	{
		Name: "html-200", About: "An answer is 200 and a page for people.",
		Faults: []Fault{{
			Path: apiPath, Action: Replace, Body: "<html><body>We will be back soon.</body></html>",
			Header: map[string]string{"Content-Type": "text/html"},
		}},
	},
	{
		Name: "empty-200", About: "An answer is 200 and has no body.",
		Faults: []Fault{{Path: apiPath, Action: Replace}},
	},
	{
		Name: "no-date", About: "An answer does not tell the server's time.",
		Faults: []Fault{{Path: apiPath, Action: Alter, Header: map[string]string{"Date": ""}}},
	},
	{
		Name: "default-agents-blocked", About: "The User-Agents of HTTP libraries get 403 and a page of Cloudflare.",
		Profile: Profile{DefaultAgentsBlocked: true},
	},
	{
		Name: "gzip", About: "Answers are compressed for clients that accept it.",
		Profile: Profile{Gzip: true},
	},
	{
		Name: "errors-empty", About: "Errors of the API have no body.",
		Profile: Profile{ErrorBodies: ErrorBodiesEmpty},
	},
	{
		Name: "errors-text", About: "Errors of the API are text.",
		Profile: Profile{ErrorBodies: ErrorBodiesText},
	},
	{
		Name: "errors-json", About: "Errors of the API are JSON.",
		Profile: Profile{ErrorBodies: ErrorBodiesJSON},
	},
	{
		Name: "errors-html", About: "Errors of the API are HTML.",
		Profile: Profile{ErrorBodies: ErrorBodiesHTML},
	},
}
