package storage

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/ingest-connectors/whoop-iceberg/protocol"
)

// Credentials are renewed in time; while the old ones are good, a failure is none.
func TestVendedCredentialsAreRenewed(t *testing.T) {
	began := time.Now()
	end := func(life time.Duration) aws.Credentials {
		return aws.Credentials{AccessKeyID: "1", SecretAccessKey: "s", CanExpire: true, Expires: began.Add(life)}
	}
	for name, tc := range map[string]struct {
		first aws.Credentials
		until time.Duration // what the SDK keeps them
	}{
		"an hour":        {end(time.Hour), 55 * time.Minute},
		"four minutes":   {end(4 * time.Minute), 2 * time.Minute},
		"no end is told": {aws.Credentials{AccessKeyID: "1", SecretAccessKey: "s"}, renewUntold},
		"already over":   {end(-time.Minute), -30 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			now := began
			var fails error
			loaded := 0
			v := &vendedCredentials{now: func() time.Time { return now }, current: tc.first}
			Renew(&s3Files{vended: v}, func(context.Context) (iceio.IO, error) {
				loaded++
				fresh := aws.Credentials{AccessKeyID: fmt.Sprint(loaded + 1), SecretAccessKey: "s", CanExpire: true, Expires: now.Add(time.Hour)}
				return &s3Files{vended: &vendedCredentials{current: fresh}}, fails
			})
			retrieve := func() aws.Credentials {
				t.Helper()
				c, err := v.Retrieve(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				return c
			}
			if c := retrieve(); c.AccessKeyID != "1" || c.Expires.Sub(began) != tc.until || loaded != 0 {
				t.Errorf("at first they are %s until %v, loaded %d times", c.AccessKeyID, c.Expires.Sub(began), loaded)
			}
			now = began.Add(max(tc.until, 0))
			if c := retrieve(); c.AccessKeyID != "2" || c.Expires.Sub(now) != 55*time.Minute {
				t.Errorf("then they are %s until %v", c.AccessKeyID, c.Expires.Sub(now))
			}
			fails = errors.New("no")
			now = now.Add(55 * time.Minute)
			if c := retrieve(); c.AccessKeyID != "2" || c.Expires.Sub(now) != renewAgain {
				t.Errorf("after a failure they are %s until %v", c.AccessKeyID, c.Expires.Sub(now))
			}
			now = now.Add(5 * time.Minute)
			if _, err := v.Retrieve(t.Context()); !errors.Is(err, fails) {
				t.Errorf("at their end the error is %v", err)
			}
		})
	}
}

func TestACatalogThatVendsNothingIsExplained(t *testing.T) {
	v := &vendedStorage{files: &s3Files{}}
	for name, tc := range map[string]struct {
		properties map[string]string
		says       string
	}{
		"nothing":        {map[string]string{"s3.region": "r"}, "gives no credentials for its tables' files. Set up"},
		"half":           {map[string]string{"s3.region": "r", "s3.access-key-id": "k"}, "gives no credentials for its tables' files. Set up"},
		"remote signing": {map[string]string{"s3.region": "r", "s3.remote-signing-enabled": "true"}, "wants to sign each request itself"},
		"no region":      {map[string]string{"s3.access-key-id": "k", "s3.secret-access-key": "sesame"}, `Set "storage.region"`},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := v.filesOf(tc.properties)
			var userError *protocol.Error
			if !errors.As(err, &userError) || userError.Kind != protocol.ConfigError || !strings.Contains(userError.Message, tc.says) || strings.Contains(err.Error(), "sesame") {
				t.Errorf("error %v", err)
			}
		})
	}
}

// What the configuration says comes before what the catalog says.
func TestTheCatalogSaysHowFilesAreReached(t *testing.T) {
	given := map[string]string{
		"s3.access-key-id": "k", "s3.secret-access-key": "s", "s3.endpoint": "http://theirs", "s3.path-style-access": "true", "client.region": "theirs",
	}
	for name, tc := range map[string]struct {
		config           s3Config
		endpoint, region string
		pathStyle        bool
	}{
		"theirs": {s3Config{}, "http://theirs", "theirs", true},
		"ours":   {s3Config{Endpoint: "http://ours"}, "http://ours", "theirs", true},
	} {
		t.Run(name, func(t *testing.T) {
			files, err := (&vendedStorage{config: tc.config, files: &s3Files{}}).filesOf(given)
			if err != nil {
				t.Fatal(err)
			}
			o := files.client.Options()
			if *o.BaseEndpoint != tc.endpoint || o.Region != tc.region || o.UsePathStyle != tc.pathStyle {
				t.Errorf("endpoint %s, region %s, path style %t", *o.BaseEndpoint, o.Region, o.UsePathStyle)
			}
		})
	}
}

func TestVendedCredentialsAndOthersAreRefused(t *testing.T) {
	c := s3Config{Vended: true}
	c.AccessKeyID, c.SecretAccessKey = "k", "s"
	if err := c.validate("s3://bucket/lake"); err == nil || !strings.Contains(err.Error(), "Remove one") {
		t.Errorf("error %v", err)
	}
}
