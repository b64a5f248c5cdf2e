package storage

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"sync"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/google/uuid"
	"golang.org/x/sync/errgroup"

	"github.com/ingest-connectors/whoop-iceberg/internal/goroutine"
	"github.com/ingest-connectors/whoop-iceberg/internal/osfile"
)

const (
	// partBytes is the size of a part of an object; S3 takes no part below 5 MiB
	// but the last.
	partBytes = 8 << 20
	// maxUploads is how many parts are uploaded at once, of all objects.
	maxUploads = 32
)

// writerKey is the metadata of an object that says which attempt wrote it: when
// the answer to a request is lost, the object shows whether the request was done.
const writerKey = "writer"

// Create starts a new object. It appears when it is closed; that one of the same
// name is there is found then, too.
//
// What is written goes to a file of this machine first, so that any number of
// objects that are written take no memory. Parts are uploaded from there as they
// fill, a few at once.
func (s *s3Files) Create(location string) (iceio.FileWriter, error) {
	spool, err := osfile.CreateTemp(s.scratch, "upload-*")
	if err != nil {
		return nil, &scratchError{s.scratch, err}
	}
	return &s3Writer{files: s, location: location, spool: spool}, nil
}

// s3Writer is an object that is written.
type s3Writer struct {
	files    *s3Files
	location string
	spool    *os.File
	size     int64
	closed   bool // or aborted

	upload *multipart // nil while the object is small
}

// Write writes to the spool and uploads the parts that are full.
func (w *s3Writer) Write(p []byte) (int, error) {
	n, err := w.spool.Write(p)
	w.size += int64(n)
	if err != nil {
		return n, &scratchError{w.files.scratch, err}
	}
	if w.upload == nil && w.size >= 2*partBytes {
		if w.upload, err = w.files.startMultipart(w.location, w.spool); err != nil {
			return n, err
		}
	}
	if w.upload != nil {
		err = w.upload.sendFull(w.size)
	}
	return n, err
}

// ReadFrom is Write for all that a reader has.
func (w *s3Writer) ReadFrom(r io.Reader) (int64, error) {
	return io.Copy(struct{ io.Writer }{w}, r)
}

// Close completes the object. If that fails there is no object, unless the error
// says that the answer was lost.
func (w *s3Writer) Close() error {
	if w.closed {
		return &fs.PathError{Op: "close", Path: w.location, Err: fs.ErrClosed}
	}
	w.closed = true
	var err error
	if w.upload == nil {
		err = w.files.put(w.location, w.spool, w.size)
	} else {
		err = w.upload.complete(w.size)
	}
	return errors.Join(err, w.spool.Close())
}

// Abort ends the writing without an object. It uploads nothing more.
func (w *s3Writer) Abort() error {
	if w.closed {
		return &fs.PathError{Op: "abort", Path: w.location, Err: fs.ErrClosed}
	}
	w.closed = true
	var err error
	if w.upload != nil {
		err = w.upload.giveUp()
	}
	return errors.Join(err, w.spool.Close())
}

// put writes an object with one request.
func (s *s3Files) put(location string, content io.ReaderAt, size int64) error {
	s.uploads <- struct{}{}
	defer func() { <-s.uploads }()
	writer := uuid.NewString()
	return s.create(location, writer, func(ctx context.Context, bucket, key, ifNoneMatch *string) error {
		_, err := s.client.PutObject(ctx, &s3.PutObjectInput{
			Bucket: bucket, Key: key, IfNoneMatch: ifNoneMatch,
			Body:                 io.NewSectionReader(content, 0, size),
			ContentLength:        &size,
			Metadata:             map[string]string{writerKey: writer},
			ServerSideEncryption: s.encryption,
			SSEKMSKeyId:          s.kmsKey,
		})
		return err
	})
}

// create makes a request that creates an object if there is none of its name. A
// request that was repeated because its answer was lost finds its own object
// there.
func (s *s3Files) create(location, writer string, request func(ctx context.Context, bucket, key, ifNoneMatch *string) error) error {
	return s.do("create", location, func(ctx context.Context, bucket, key *string) error {
		ifNoneMatch := aws.String("*")
		if s.noConditions.Load() {
			ifNoneMatch = nil
		}
		err := request(ctx, bucket, key, ifNoneMatch)
		if isCode(err, "NotImplemented") || isStatus(err, 501) {
			s.noConditions.Store(true)
			err = request(ctx, bucket, key, nil)
		}
		if err == nil || !isCode(err, "PreconditionFailed", "NoSuchUpload") {
			return err
		}
		head, headErr := s.client.HeadObject(ctx, &s3.HeadObjectInput{Bucket: bucket, Key: key})
		if headErr == nil && head.Metadata[writerKey] == writer {
			return nil
		}
		return err
	})
}

// multipart is the upload of an object in parts.
type multipart struct {
	files    *s3Files
	location string
	writer   string
	id       *string
	content  io.ReaderAt

	sent  int64 // bytes that are uploaded or under way
	group errgroup.Group
	mu    sync.Mutex
	parts []types.CompletedPart
	err   error // of the first part that failed
}

func (s *s3Files) startMultipart(location string, content io.ReaderAt) (*multipart, error) {
	m := &multipart{files: s, location: location, writer: uuid.NewString(), content: content}
	err := s.do("create", location, func(ctx context.Context, bucket, key *string) error {
		answer, err := s.client.CreateMultipartUpload(ctx, &s3.CreateMultipartUploadInput{
			Bucket: bucket, Key: key,
			Metadata:             map[string]string{writerKey: m.writer},
			ServerSideEncryption: s.encryption,
			SSEKMSKeyId:          s.kmsKey,
		})
		if err == nil {
			m.id = answer.UploadId
		}
		return err
	})
	if err != nil {
		return nil, err
	}
	return m, nil
}

// sendFull uploads the parts that are full, and returns the error of an earlier
// one.
func (m *multipart) sendFull(size int64) error {
	for size-m.sent >= partBytes {
		m.send(partBytes)
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.err
}

func (m *multipart) send(length int64) {
	start := m.sent
	m.sent += length
	m.mu.Lock()
	number := int32(len(m.parts) + 1)
	m.parts = append(m.parts, types.CompletedPart{PartNumber: &number})
	m.mu.Unlock()
	m.group.Go(goroutine.Recovered(func() error {
		m.files.uploads <- struct{}{}
		defer func() { <-m.files.uploads }()
		m.mu.Lock()
		failed := m.err
		m.mu.Unlock()
		if failed != nil {
			return failed
		}
		return m.sendPart(number, start, length)
	}))
}

func (m *multipart) sendPart(number int32, start, length int64) error {
	err := m.files.do("write", m.location, func(ctx context.Context, bucket, key *string) error {
		answer, err := m.files.client.UploadPart(ctx, &s3.UploadPartInput{
			Bucket: bucket, Key: key, UploadId: m.id, PartNumber: &number,
			Body: io.NewSectionReader(m.content, start, length), ContentLength: &length,
		})
		if err != nil {
			return err
		}
		m.mu.Lock()
		defer m.mu.Unlock()
		part := &m.parts[number-1]
		part.ETag, part.ChecksumCRC32, part.ChecksumCRC64NVME = answer.ETag, answer.ChecksumCRC32, answer.ChecksumCRC64NVME
		return nil
	})
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.err == nil {
		m.err = err
	}
	return err
}

// complete uploads the rest and makes an object of the parts, or removes them.
func (m *multipart) complete(size int64) error {
	_ = m.sendFull(size) // its error comes again
	if size > m.sent {
		m.send(size - m.sent)
	}
	err := m.group.Wait()
	if err == nil {
		err = m.files.create(m.location, m.writer, func(ctx context.Context, bucket, key, ifNoneMatch *string) error {
			_, err := m.files.client.CompleteMultipartUpload(ctx, &s3.CompleteMultipartUploadInput{
				Bucket: bucket, Key: key, UploadId: m.id, IfNoneMatch: ifNoneMatch,
				MultipartUpload: &types.CompletedMultipartUpload{Parts: m.parts},
			})
			return err
		})
	}
	if err == nil {
		return nil
	}
	return errors.Join(err, m.abort())
}

var errGivenUp = errors.New("the upload was given up")

// giveUp removes the parts. It waits for those that are under way, because S3 may keep a part
// that comes later.
func (m *multipart) giveUp() error {
	m.mu.Lock()
	if m.err == nil {
		m.err = errGivenUp // parts that wait for their turn are not sent
	}
	m.mu.Unlock()
	_ = m.group.Wait()
	return m.abort()
}

// abort removes the parts. Of an upload that is complete there are none.
func (m *multipart) abort() error {
	err := m.files.do("abort", m.location, func(ctx context.Context, bucket, key *string) error {
		_, err := m.files.client.AbortMultipartUpload(ctx, &s3.AbortMultipartUploadInput{Bucket: bucket, Key: key, UploadId: m.id})
		return err
	})
	if isCode(err, "NoSuchUpload") {
		return nil
	}
	return err
}
