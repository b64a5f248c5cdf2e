package whoop

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"iter"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/internal/rawjson"
)

// PageSize is the number of records per page, WHOOP's maximum.
const PageSize = 25

// timeFormat is WHOOP's own: milliseconds and Z.
const timeFormat = "2006-01-02T15:04:05.000Z"

// A Page is a part of a collection, newest record first.
type Page struct {
	Records []json.RawMessage
}

// Pages reads a collection, such as "/v2/cycle": the records that end at or
// after from and begin before to, newest first. A zero from means no lower
// bound. After an error there are no more pages, and the pages before it are
// incomplete. Errors are as for Get, and PagingError.
//
// WHOOP's page tokens are likely offsets: a record that appears or vanishes
// between two pages shifts the rest. Records can therefore come twice, and one
// can be missed.
func (c *Client) Pages(ctx context.Context, path string, from, to time.Time) iter.Seq2[Page, error] {
	return func(yield func(Page, error) bool) {
		query := url.Values{"limit": {strconv.Itoa(PageSize)}, "end": {to.UTC().Format(timeFormat)}}
		if !from.IsZero() {
			query.Set("start", from.UTC().Format(timeFormat))
		}
		given := map[string]bool{}
		for pages := 1; ; pages++ {
			if limit := maxPages(from, to); pages > limit {
				yield(Page{}, &UnavailableError{path, fmt.Errorf("%d pages, far more than the time from %s to %s can hold, and no end", limit, from.Format(timeFormat), to.Format(timeFormat))})
				return
			}
			page, next, err := c.page(ctx, path, query)
			if err != nil {
				var refused *StatusError
				if query.Has("nextToken") && errors.As(err, &refused) && refused.Status == http.StatusBadRequest {
					err = &PagingError{path, err}
				}
				yield(Page{}, err)
				return
			}
			if !yield(page, nil) || next == "" {
				return
			}
			if given[next] {
				yield(Page{}, &PagingError{path, fmt.Errorf("the page token %q came twice", next)})
				return
			}
			given[next] = true
			query.Set("nextToken", next) // the answer spells it next_token
		}
	}
}

// maxPages is far more than a window of time can hold: two dozen records a day,
// day by day since 1970, and a hundred pages besides.
func maxPages(from, to time.Time) int {
	if from.IsZero() {
		from = time.Unix(0, 0)
	}
	return 100 + int(to.Sub(from).Hours()/24)
}

// NewestBefore returns the newest record of a collection that began before an instant, nil
// if there is none.
func (c *Client) NewestBefore(ctx context.Context, path string, before time.Time) (json.RawMessage, error) {
	page, _, err := c.page(ctx, path, url.Values{"limit": {"1"}, "end": {before.UTC().Format(timeFormat)}})
	if err != nil || len(page.Records) == 0 {
		return nil, err
	}
	return page.Records[0], nil
}

func (c *Client) page(ctx context.Context, path string, query url.Values) (Page, string, error) {
	body, err := c.get(ctx, path, query)
	if err != nil {
		return Page{}, "", err
	}
	return c.parsePage(path, body)
}

// parsePage reads a page, whose members may both be missing. On the last page WHOOP
// omits next_token, or sends null or "". An object with only other members is an error:
// as a page, it would mean that all records have vanished. The body is a JSON object;
// the records are objects within it.
func (c *Client) parsePage(path string, body []byte) (page Page, next string, err error) {
	invalidPage := func(what string) (Page, string, error) {
		return Page{}, "", &UnavailableError{path, fmt.Errorf("reading a page: %s", what)}
	}
	var others []string // names of other members
	known := false
	for name, value := range rawjson.Members(body) {
		switch string(name) {
		case "records":
			known = true
			if value[0] != '[' && value[0] != 'n' { // null
				return invalidPage("records is not a list")
			}
			for raw := range rawjson.Elements(value) {
				if raw[0] != '{' {
					return invalidPage("one of its records is not an object")
				}
				page.Records = append(page.Records, raw)
			}
		case "next_token":
			known = true
			if json.Unmarshal(value, &next) != nil {
				return invalidPage("next_token is not a string")
			}
		default:
			others = append(others, string(name))
		}
	}
	if !known && len(others) > 0 { // their values may be a member's
		return invalidPage("it has no records, but " + c.excerpt([]byte(strings.Join(others, ", "))))
	}
	return page, next, nil
}
