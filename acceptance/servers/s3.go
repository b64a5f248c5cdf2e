package servers

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

const (
	// Bucket is in every object store.
	Bucket = "lake"
	// Region is that of every object store, and of Glue.
	Region = "us-east-1"
	// AccessKeyID and SecretAccessKey are those of the root account of every object store but [Programs.MotoWithSessions].
	AccessKeyID     = "admin"
	SecretAccessKey = "secretsecret"
)

// VersityGW is an object store over files of this machine.
func (p Programs) VersityGW(ctx context.Context) (*Server, error) {
	program, err := p.find("bin/versitygw")
	if err != nil {
		return nil, err
	}
	data, err := os.MkdirTemp("", "versitygw")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(data))
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, "--port", address.String(), "posix", data)
	cmd.Env = append(os.Environ(), "ROOT_ACCESS_KEY="+AccessKeyID, "ROOT_SECRET_KEY="+SecretAccessKey)
	s, err := start(ctx, "versitygw", cmd, terminate, responds("http://"+address.String()+"/", http.StatusForbidden))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(data))
	}
	s.Endpoint, s.Directory, s.remove = "http://"+address.String(), data, []string{data}
	s.accessKeyID, s.secretAccessKey = AccessKeyID, SecretAccessKey
	if err := s.makeBucket(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

// Moto stands in for AWS: for S3, Glue and Secrets Manager. It keeps everything in memory. What it
// does not do of Glue is done before it.
func (p Programs) Moto(ctx context.Context) (*Server, error) {
	return p.moto(ctx, func(endpoint string) func(http.Handler) http.Handler {
		return (&glueVersions{moto: endpoint}).intercept
	})
}

// moto starts it, with something before it.
func (p Programs) moto(ctx context.Context, intercept func(endpoint string) func(http.Handler) http.Handler) (*Server, error) {
	program, err := p.find("moto/bin/moto_server")
	if err != nil {
		return nil, err
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, "-H", "127.0.0.1", "-p", strconv.Itoa(address.Port))
	cmd.Env = append(os.Environ(), "MOTO_ALLOW_NONEXISTENT_REGION=true") // a region is a Glue catalog of its own, and tests make their own
	s, err := start(ctx, "moto", cmd, terminate, responds("http://"+address.String()+"/moto-api/", http.StatusOK))
	if err != nil {
		return nil, err
	}
	endpoint := "http://" + address.String()
	s.front = httptest.NewServer(Front(endpoint, intercept(endpoint)))
	s.Endpoint, s.accessKeyID, s.secretAccessKey = s.front.URL, AccessKeyID, SecretAccessKey
	if err := s.makeBucket(ctx); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Server) makeBucket(ctx context.Context) error {
	client := s3.New(s3.Options{
		BaseEndpoint: &s.Endpoint, UsePathStyle: true, Region: Region, HTTPClient: direct,
		Credentials: credentials.NewStaticCredentialsProvider(s.accessKeyID, s.secretAccessKey, ""),
	})
	if _, err := client.CreateBucket(ctx, &s3.CreateBucketInput{Bucket: aws.String(Bucket)}); err != nil {
		return fmt.Errorf("making the bucket of %s: %w\n%s", s.name, err, s.Log())
	}
	return nil
}

// Storage is the key of that name in a configuration of the destination, for an object store.
func (s *Server) Storage() map[string]any {
	return map[string]any{
		"type": "s3", "endpoint": s.Endpoint, "path_style": true, "region": Region,
		"access_key_id": s.accessKeyID, "secret_access_key": s.secretAccessKey,
	}
}

// find is the path of a program that acceptance/engines/install.sh installs.
func (p Programs) find(name string) (string, error) {
	found, err := filepath.Glob(filepath.Join(string(p), name))
	if err != nil {
		return "", err
	}
	if len(found) == 0 {
		return "", fmt.Errorf("%s is not in %s: run make engines", name, p)
	}
	return found[0], nil
}
