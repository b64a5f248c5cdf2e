package storage

import (
	"context"
	"fmt"
	"net/http"
	"time"

	iceio "github.com/apache/iceberg-go/io"
	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// An Upload is a file that somebody began to write, and that is not there yet. If
// its writer was killed it never will be, but its parts take room until it is
// aborted.
type Upload struct {
	Path    string
	Started time.Time
	id      *string
}

// OpenUploads lists the uploads of files below a location. Only S3 has any; a
// service that cannot list them counts as having none.
func OpenUploads(ctx context.Context, files iceio.IO, location string) (open []Upload, err error) {
	s, ok := files.(*s3Files)
	if !ok {
		return nil, nil
	}
	err = s.do("list the uploads to", location, func(_ context.Context, bucket, key *string) error {
		prefix := *key
		if prefix != "" {
			prefix += "/"
		}
		pages := s3.NewListMultipartUploadsPaginator(s.client, &s3.ListMultipartUploadsInput{Bucket: bucket, Prefix: &prefix})
		for pages.HasMorePages() {
			page, err := pages.NextPage(ctx)
			if isCode(err, "NotImplemented", "MethodNotAllowed") || isStatus(err, http.StatusNotImplemented) || isStatus(err, http.StatusMethodNotAllowed) {
				return nil
			}
			if err != nil {
				return err
			}
			for _, u := range page.Uploads {
				open = append(open, Upload{fmt.Sprintf("s3://%s/%s", *bucket, aws.ToString(u.Key)), aws.ToTime(u.Initiated), u.UploadId})
			}
		}
		return nil
	})
	return open, err
}

// AbortUpload removes the parts of an upload. One that has ended is no error.
func AbortUpload(files iceio.IO, u Upload) error {
	return (&multipart{files: files.(*s3Files), location: u.Path, id: u.id}).abort()
}
