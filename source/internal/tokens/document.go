package tokens

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"
)

// byteOrderMark is what some editors put before JSON.
const byteOrderMark = "\xef\xbb\xbf"

// parseDocument reads the JSON document that holds credentials; one without a
// client is empty. Its error is a DocumentError or ErrNotStored.
func parseDocument(data []byte) (Credentials, error) {
	var document struct {
		ClientID     string `json:"client_id"`
		ClientSecret string `json:"client_secret"`
		AccessToken  string `json:"access_token"`
		RefreshToken string `json:"refresh_token"`
		ExpiresAt    string `json:"expires_at"`
	}
	data = bytes.TrimPrefix(data, []byte(byteOrderMark))
	err := json.Unmarshal(data, &document)
	c := Credentials{
		ClientID: document.ClientID, ClientSecret: document.ClientSecret,
		AccessToken: document.AccessToken, RefreshToken: document.RefreshToken,
	}
	var wrongType *json.UnmarshalTypeError
	switch {
	case errors.As(err, &wrongType) && wrongType.Field != "":
		return c, DocumentError(fmt.Sprintf("its %q is not a string", wrongType.Field))
	case err != nil:
		return c, DocumentError("it is not a JSON object")
	case c.ClientID == "":
		return c, fmt.Errorf(`%w: it has no "client_id"`, ErrNotStored)
	case c.ClientSecret == "":
		return c, fmt.Errorf(`%w: it has no "client_secret"`, ErrNotStored)
	case c.Unsendable() != "":
		return c, DocumentError(fmt.Sprintf("its %q has a line break or another control character", c.Unsendable()))
	}
	if document.ExpiresAt == "" {
		return c, nil
	}
	if c.ExpiresAt, err = time.Parse(time.RFC3339, document.ExpiresAt); err != nil {
		return c, DocumentError(`its "expires_at" is not an instant such as 2026-01-15T12:00:00Z`)
	}
	return c, nil
}

// fields are those of a document that are ours.
var fields = []string{"client_id", "client_secret", "access_token", "refresh_token", "expires_at"}

// mergeDocument returns the document with credentials in the place of those it
// holds, and everything else as it was. Without a document it makes one.
func mergeDocument(document []byte, c Credentials) ([]byte, error) {
	merged := map[string]json.RawMessage{}
	if document != nil {
		if err := json.Unmarshal(bytes.TrimPrefix(document, []byte(byteOrderMark)), &merged); err != nil {
			return nil, DocumentError("it is not a JSON object")
		}
	}
	maps.DeleteFunc(merged, func(key string, _ json.RawMessage) bool { // in any spelling that parseDocument takes for a field
		return slices.ContainsFunc(fields, func(field string) bool { return strings.EqualFold(key, field) })
	})
	encoded, err := json.Marshal(c)
	if err != nil {
		return nil, err
	}
	if err := json.Unmarshal(encoded, &merged); err != nil {
		return nil, err
	}
	return json.MarshalIndent(merged, "", "  ")
}
