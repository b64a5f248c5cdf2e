package storage

import (
	"bytes"
	"context"
	"errors"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/aws/aws-sdk-go-v2/aws"
	awshttp "github.com/aws/aws-sdk-go-v2/aws/transport/http"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/aws/smithy-go"
)

var (
	_ iceio.WriteFileIO     = (*s3Files)(nil)
	_ iceio.ReadFileIO      = (*s3Files)(nil)
	_ iceio.ListableIO      = (*s3Files)(nil)
	_ iceio.BulkRemovableIO = (*s3Files)(nil)
	_ iceio.RemoveAllIO     = (*s3Files)(nil)
)

// do makes a request about a location. Its error is an [fs.PathError]. The
// context of the request never ends: the last commit of a run that is told to stop
// needs its files, and the transport ends what hangs.
func (s *s3Files) do(op, location string, request func(ctx context.Context, bucket, key *string) error) error {
	bucket, key, ok := splitS3(location)
	if !ok {
		return &fs.PathError{Op: op, Path: location, Err: errors.New("not a location on S3")}
	}
	if err := request(context.Background(), &bucket, &key); err != nil {
		return &fs.PathError{Op: op, Path: location, Err: fileError(err)}
	}
	return nil
}

// fileError is err, and also what the file system would say.
func fileError(err error) error {
	switch {
	case isCode(err, missingCodes...):
		return &missingError{err}
	case isCode(err, "PreconditionFailed"):
		return errors.Join(fs.ErrExist, err)
	}
	return err
}

// A missingError is the answer that there is no such object, in the words of the file system.
type missingError struct{ answer error }

func (e *missingError) Error() string   { return fs.ErrNotExist.Error() }
func (e *missingError) Unwrap() []error { return []error{fs.ErrNotExist, e.answer} }

// isCode reports whether S3 answered with one of some error codes. The answer to
// a HEAD request has none, but for its status.
func isCode(err error, codes ...string) bool {
	var api smithy.APIError
	if !errors.As(err, &api) {
		return false
	}
	for _, code := range codes {
		if api.ErrorCode() == code {
			return true
		}
	}
	return false
}

func isStatus(err error, status int) bool {
	var answer *awshttp.ResponseError
	return errors.As(err, &answer) && answer.HTTPStatusCode() == status
}

// ReadFile reads a whole object.
func (s *s3Files) ReadFile(location string) (content []byte, err error) {
	f, err := s.open(location)
	if err != nil {
		return nil, err
	}
	content = make([]byte, f.size)
	if _, err := io.ReadFull(f, content); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return content, f.Close()
}

// WriteFile writes a new object.
func (s *s3Files) WriteFile(location string, content []byte) error {
	return s.put(location, bytes.NewReader(content), int64(len(content)))
}

// ReplaceFile writes an object, whether or not there is one of its name.
func (s *s3Files) ReplaceFile(location string, content []byte) error {
	return s.do("write", location, func(ctx context.Context, bucket, key *string) error {
		_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: bucket, Key: key, Body: bytes.NewReader(content),
			ServerSideEncryption: s.encryption,
			SSEKMSKeyId:          s.kmsKey,
		})
		return err
	})
}

// Remove removes an object. One that is not there is no error.
func (s *s3Files) Remove(location string) error {
	return s.do("remove", location, func(ctx context.Context, bucket, key *string) error {
		_, err := s.client.DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: bucket, Key: key})
		return err
	})
}

// bulk is how many objects S3 deletes at once, at most.
const bulk = 1000

// DeleteFiles removes objects, many with a request.
func (s *s3Files) DeleteFiles(ctx context.Context, locations []string) (removed []string, err error) {
	byBucket := map[string][]string{}
	for _, location := range locations {
		bucket, _, ok := splitS3(location)
		if !ok {
			return nil, &fs.PathError{Op: "remove", Path: location, Err: errors.New("not a location on S3")}
		}
		byBucket[bucket] = append(byBucket[bucket], location)
	}
	var errs []error
	for bucket, of := range byBucket {
		for len(of) > 0 && ctx.Err() == nil {
			batch := of[:min(bulk, len(of))]
			of = of[len(batch):]
			done, err := s.deleteBatch(ctx, bucket, batch)
			removed, errs = append(removed, done...), append(errs, err)
		}
	}
	return removed, errors.Join(append(errs, ctx.Err())...)
}

func (s *s3Files) deleteBatch(ctx context.Context, bucket string, locations []string) (removed []string, err error) {
	if len(locations) == 1 || s.noBulkDelete.Load() {
		return removeEach(ctx, s, locations)
	}
	keys := make([]types.ObjectIdentifier, len(locations))
	for i, location := range locations {
		_, key, _ := splitS3(location)
		keys[i].Key = &key
	}
	answer, err := s.client.DeleteObjects(context.WithoutCancel(ctx), &s3.DeleteObjectsInput{
		Bucket: &bucket, Delete: &types.Delete{Objects: keys, Quiet: aws.Bool(true)},
	})
	switch {
	case isCode(err, "NotImplemented", "MissingContentMD5") || isStatus(err, 501):
		s.noBulkDelete.Store(true)
		return removeEach(ctx, s, locations)
	case err != nil:
		return nil, &fs.PathError{Op: "remove", Path: locations[0], Err: err}
	}
	failed := map[string]error{}
	for _, e := range answer.Errors {
		failed[aws.ToString(e.Key)] = &smithy.GenericAPIError{Code: aws.ToString(e.Code), Message: aws.ToString(e.Message)}
	}
	var errs []error
	for _, location := range locations {
		_, key, _ := splitS3(location)
		if err := failed[key]; err != nil && !isCode(err, "NoSuchKey") {
			errs = append(errs, &fs.PathError{Op: "remove", Path: location, Err: &smithy.OperationError{ServiceID: s3.ServiceID, OperationName: "DeleteObjects", Err: err}})
			continue
		}
		removed = append(removed, location)
	}
	return removed, errors.Join(errs...)
}

// WalkDir calls fn for each object below root, in the order of their keys. There
// are no directories; root itself comes first, as one, if there is anything in it.
func (s *s3Files) WalkDir(root string, fn fs.WalkDirFunc) error {
	err := s.walk(root, fn)
	if errors.Is(err, fs.SkipAll) {
		return nil
	}
	return err
}

func (s *s3Files) walk(root string, fn fs.WalkDirFunc) error {
	root = strings.TrimSuffix(root, "/")
	empty := true
	err := s.list(root, func(o types.Object) error {
		if empty {
			empty = false
			if err := fn(root, object{name: path.Base(root), dir: true}, nil); err != nil {
				return err
			}
		}
		key := aws.ToString(o.Key)
		bucket, _, _ := splitS3(root)
		scheme, _, _ := strings.Cut(root, "://")
		return fn(scheme+"://"+bucket+"/"+key, object{name: path.Base(key), size: aws.ToInt64(o.Size), modified: aws.ToTime(o.LastModified)}, nil)
	})
	switch {
	case errors.Is(err, fs.SkipDir):
		return nil
	case err != nil && empty:
		return fn(root, nil, err)
	case err == nil && empty:
		return fn(root, nil, &fs.PathError{Op: "list", Path: root, Err: fs.ErrNotExist})
	}
	return err
}

// list calls found for each object below a location.
func (s *s3Files) list(root string, found func(types.Object) error) error {
	var answered error // by found
	err := s.do("list", root, func(ctx context.Context, bucket, key *string) error {
		prefix := *key
		if prefix != "" {
			prefix += "/"
		}
		pages := s3.NewListObjectsV2Paginator(s.client, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: &prefix})
		for pages.HasMorePages() && answered == nil {
			page, err := pages.NextPage(ctx)
			if err != nil {
				return err
			}
			for _, o := range page.Contents {
				if strings.HasSuffix(aws.ToString(o.Key), "/") {
					continue // what consoles make for a directory
				}
				if answered = found(o); answered != nil {
					break
				}
			}
		}
		return nil
	})
	return errors.Join(err, answered)
}

// RemoveAll removes the objects below a location. It does not ask to remove the location
// itself, which no object has: credentials for a table's files do not allow that.
func (s *s3Files) RemoveAll(location string) error {
	location = strings.TrimSuffix(location, "/")
	var locations []string
	bucket, _, _ := splitS3(location)
	if err := s.list(location, func(o types.Object) error {
		locations = append(locations, "s3://"+bucket+"/"+aws.ToString(o.Key))
		return nil
	}); err != nil {
		return err
	}
	_, err := s.DeleteFiles(context.Background(), locations)
	return err
}

// firstAnswer is how long S3 may take to answer the first request. Later ones are
// waited for longer: what is done by then is worth it.
const firstAnswer = 25 * time.Second

// reachable returns an error if objects below a location cannot be listed.
func (s *s3Files) reachable(location string) error {
	return s.do("list", location, func(ctx context.Context, bucket, key *string) error {
		ctx, cancel := context.WithTimeout(ctx, firstAnswer)
		defer cancel()
		answer, err := s.client.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: bucket, Prefix: key, MaxKeys: aws.Int32(1)})
		if err == nil && answer.Name == nil && answer.IsTruncated == nil { // some page of a web server
			err = &smithy.OperationError{ServiceID: s3.ServiceID, OperationName: "ListObjectsV2", Err: &smithy.DeserializationError{Err: errors.New("it lists no bucket")}}
		}
		return err
	})
}

// object is an object, or a root of some, as a directory shows it.
type object struct {
	name     string
	size     int64
	modified time.Time
	dir      bool
}

func (o object) Name() string               { return o.name }
func (o object) Size() int64                { return o.size }
func (o object) ModTime() time.Time         { return o.modified }
func (o object) IsDir() bool                { return o.dir }
func (o object) Sys() any                   { return nil }
func (o object) Info() (fs.FileInfo, error) { return o, nil }
func (o object) Type() fs.FileMode          { return o.Mode().Type() }
func (o object) String() string             { return fs.FormatFileInfo(o) }

func (o object) Mode() fs.FileMode {
	if o.dir {
		return fs.ModeDir | 0o755
	}
	return 0o644
}
