package storage

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strconv"
	"strings"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// tailBytes is what the request that opens an object asks for: its end, which is
// all of a small one, and the footer of a Parquet file.
const tailBytes = 64 << 10

// readAttempts is how often a body that breaks off is asked for again.
const readAttempts = 4

// Open opens an object for reading with one request.
func (s *s3Files) Open(location string) (iceio.File, error) {
	f, err := s.open(location)
	if err != nil {
		return nil, err // not f: a nil object would be a file
	}
	return f, nil
}

func (s *s3Files) open(location string) (*s3Object, error) {
	f := &s3Object{files: s, location: location}
	err := s.do("open", location, func(ctx context.Context, bucket, key *string) error {
		answer, err := s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key, Range: aws.String(fmt.Sprintf("bytes=-%d", tailBytes))})
		if isCode(err, "InvalidRange") || isStatus(err, 416) { // an empty object has no end; on some services, nor has a small one
			answer, err = s.client.GetObject(ctx, &s3.GetObjectInput{Bucket: bucket, Key: key})
		}
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		f.size = aws.ToInt64(answer.ContentLength)
		if answer.ContentRange != nil {
			_, total, _ := strings.Cut(*answer.ContentRange, "/")
			if f.size, err = strconv.ParseInt(total, 10, 64); err != nil {
				return fmt.Errorf("S3 answered with the range %q", *answer.ContentRange)
			}
		}
		f.etag, f.info = answer.ETag, object{name: path.Base(*key), size: f.size, modified: aws.ToTime(answer.LastModified)}
		f.tailStart = f.size - aws.ToInt64(answer.ContentLength)
		if answer.ContentRange == nil && f.size > tailBytes { // a service that knows no ranges from the end
			f.tailStart = f.size
			return nil
		}
		f.tail = make([]byte, f.size-f.tailStart)
		if _, err := io.ReadFull(answer.Body, f.tail); err != nil {
			f.tail, f.tailStart = nil, f.size // it is asked for again when it is needed
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	return f, nil
}

// s3Object is an object that is read. What is read is of one version of it.
type s3Object struct {
	files    *s3Files
	location string
	info     object
	etag     *string
	size     int64

	tail      []byte // what the object ends with
	tailStart int64

	offset int64         // of Read and Seek
	body   io.ReadCloser // of a request that began at an earlier offset; nil if there is none
	closed bool
}

func (f *s3Object) Stat() (fs.FileInfo, error) { return f.info, nil }

// Close ends the request under way.
func (f *s3Object) Close() error {
	if f.closed {
		return &fs.PathError{Op: "close", Path: f.location, Err: fs.ErrClosed}
	}
	f.closed = true
	f.abandon()
	return nil
}

// abandon ends the request that Read reads from. What it has not read is lost on
// nobody, and so is the error.
func (f *s3Object) abandon() {
	if f.body != nil {
		_ = f.body.Close()
		f.body = nil
	}
}

// Seek moves Read.
func (f *s3Object) Seek(offset int64, whence int) (int64, error) {
	switch whence {
	case io.SeekCurrent:
		offset += f.offset
	case io.SeekEnd:
		offset += f.size
	}
	if offset < 0 {
		return 0, &fs.PathError{Op: "seek", Path: f.location, Err: fs.ErrInvalid}
	}
	if offset != f.offset {
		f.abandon()
	}
	f.offset = offset
	return offset, nil
}

// Read reads on from the offset, in one request for as long as nothing seeks.
func (f *s3Object) Read(p []byte) (int, error) {
	if f.closed {
		return 0, &fs.PathError{Op: "read", Path: f.location, Err: fs.ErrClosed}
	}
	if f.offset >= f.size {
		return 0, io.EOF
	}
	if len(p) == 0 {
		return 0, nil
	}
	if f.offset >= f.tailStart {
		f.abandon()
		n := copy(p, f.tail[f.offset-f.tailStart:])
		f.offset += int64(n)
		return n, nil
	}
	p = p[:min(int64(len(p)), f.tailStart-f.offset)]
	var err error
	for range readAttempts {
		if f.body == nil {
			if f.body, err = f.get(f.offset, f.tailStart); err != nil {
				return 0, err
			}
		}
		var n int
		n, err = f.body.Read(p)
		if n > 0 {
			f.offset += int64(n)
			return n, nil
		}
		if err != nil {
			f.abandon()
		}
	}
	return 0, &fs.PathError{Op: "read", Path: f.location, Err: errors.Join(io.ErrUnexpectedEOF, err)}
}

// ReadAt reads a range, with a request of its own unless the object ends with it.
func (f *s3Object) ReadAt(p []byte, offset int64) (n int, err error) {
	if offset < 0 {
		return 0, &fs.PathError{Op: "read", Path: f.location, Err: fs.ErrInvalid}
	}
	if offset >= f.size {
		return 0, io.EOF
	}
	end := min(offset+int64(len(p)), f.size)
	if end < offset+int64(len(p)) {
		defer func() {
			if err == nil {
				err = io.EOF
			}
		}()
	}
	p = p[:end-offset]
	fromTail := p[max(0, min(f.tailStart-offset, int64(len(p)))):]
	n = len(p) - len(fromTail)
	if n > 0 {
		if done, err := f.readRange(p[:n], offset); err != nil {
			return done, err
		}
	}
	if len(fromTail) > 0 {
		n += copy(fromTail, f.tail[offset+int64(n)-f.tailStart:])
	}
	return n, nil
}

func (f *s3Object) readRange(p []byte, offset int64) (n int, err error) {
	for range readAttempts {
		body, getErr := f.get(offset+int64(n), offset+int64(len(p)))
		if getErr != nil {
			return n, getErr
		}
		var more int
		more, err = io.ReadFull(body, p[n:])
		n += more
		_ = body.Close()
		if err == nil {
			return n, nil
		}
	}
	return n, &fs.PathError{Op: "read", Path: f.location, Err: err}
}

// get requests the bytes from start to before end.
func (f *s3Object) get(start, end int64) (body io.ReadCloser, err error) {
	err = f.files.do("read", f.location, func(ctx context.Context, bucket, key *string) error {
		answer, err := f.files.client.GetObject(ctx, &s3.GetObjectInput{
			Bucket: bucket, Key: key, IfMatch: f.etag,
			Range: aws.String(fmt.Sprintf("bytes=%d-%d", start, end-1)),
		})
		if err != nil {
			return err
		}
		if answer.ContentRange == nil && (start > 0 || end < f.size) {
			return errors.Join(errors.New("S3 answered without the range that was asked for"), answer.Body.Close())
		}
		body = answer.Body
		return nil
	})
	return body, err
}
