package awsconfig

import (
	"context"
	"errors"
	"net"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Nobody waits longer than half a minute for a server that is not there.
func TestAServerThatIsNotThereIsGivenUp(t *testing.T) {
	real := dial
	t.Cleanup(func() { dial = real })
	for name, answer := range map[string]func(ctx context.Context) error{
		"no answer": func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"refused":   func(context.Context) error { return syscall.ECONNREFUSED },
	} {
		t.Run(name, func(t *testing.T) {
			attempts := 0
			dial = func(ctx context.Context, _, _ string) (net.Conn, error) {
				attempts++
				return nil, answer(ctx)
			}
			cfg, err := Config{Region: "eu-west-1", AccessKeyID: "key", SecretAccessKey: "sesame"}.Load(t.Context(), "storage")
			if err != nil {
				t.Fatal(err)
			}
			synctest.Test(t, func(t *testing.T) {
				client := s3.NewFromConfig(cfg, func(o *s3.Options) { o.BaseEndpoint = aws.String("http://127.0.0.1:9") })
				start := time.Now()
				_, err := client.ListBuckets(t.Context(), nil)
				if took := time.Since(start); err == nil || took > 30*time.Second || attempts != maxAttempts {
					t.Errorf("%d attempts took %v: %v", attempts, took, err)
				}
				if want := syscall.ECONNREFUSED; name == "refused" && !errors.Is(err, want) {
					t.Errorf("error %v", err)
				}
			})
		})
	}
}
