package relocation

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"path"
	"strconv"
	"strings"

	"github.com/twmb/avro"
	"github.com/twmb/avro/ocf"

	"github.com/ingest-connectors/whoop-iceberg/destination/internal/filenames"
)

func (w *writer) manifestList(ctx context.Context, before, snapshot string) (copied, error) {
	return w.once(ctx, before, func(grown *growth) (string, error) {
		return w.avro(before, func(manifest map[string]any) error {
			location, ok := manifest["manifest_path"].(string)
			if !ok {
				return errors.New("it has a manifest without a path")
			}
			made, err := w.manifest(ctx, location)
			manifest["manifest_path"], manifest["manifest_length"] = made.location, made.bytes
			grown.live += made.grown.live
			if strconv.FormatInt(number(manifest["added_snapshot_id"]), 10) == snapshot {
				grown.added += made.grown.added
				grown.removed += made.grown.removed
			}
			return err
		})
	})
}

// What the specification calls the status of a manifest's entries, and their
// content.
const (
	addedEntry      = 1
	deletedEntry    = 2
	positionDeletes = 1
)

func (w *writer) manifest(ctx context.Context, before string) (copied, error) {
	return w.once(ctx, before, func(grown *growth) (string, error) {
		return w.avro(before, func(entry map[string]any) error {
			file, ok := entry["data_file"].(map[string]any)
			if !ok {
				return errors.New("it has an entry without a file")
			}
			status, bytes := number(entry["status"]), number(file["file_size_in_bytes"])
			if err := w.dataFile(ctx, file, status == deletedEntry); err != nil {
				return err
			}
			switch by := number(file["file_size_in_bytes"]) - bytes; status {
			case deletedEntry:
				grown.removed += by
			case addedEntry:
				grown.added += by
				grown.live += by
			default:
				grown.live += by
			}
			return nil
		})
	})
}

// dataFile changes what a manifest says of a data or delete file. One that is
// gone from the table need not be there.
func (w *writer) dataFile(ctx context.Context, file map[string]any, gone bool) error {
	before := textOf(file["file_path"])
	file["file_path"] = w.move.Location(before)
	if referenced, ok := file["referenced_data_file"].(string); ok {
		file["referenced_data_file"] = w.move.Location(referenced)
	}
	if number(file["content"]) != positionDeletes {
		if gone {
			return nil
		}
		return w.mustBeThere(before)
	}
	w.bounds(file)
	if _, known := w.written[before]; gone && !known {
		return nil
	}
	made, err := w.deletes(ctx, before, textOf(file["file_format"]))
	if err != nil {
		return err
	}
	file["file_path"], file["file_size_in_bytes"] = made.location, made.bytes
	if _, has := file["split_offsets"]; has {
		file["split_offsets"] = nil
	}
	return nil
}

// pathFieldID is that of the column of position delete files that names data
// files.
const pathFieldID = 2147483546

// bounds changes the bounds of that column. Where one was cut off within the
// path of the old directory, nothing is known of the new paths.
func (w *writer) bounds(file map[string]any) {
	for key, none := range map[string]string{"lower_bounds": "", "upper_bounds": "\U0010FFFF"} {
		for _, bound := range objects(file[key]) {
			if number(bound["key"]) != pathFieldID {
				continue
			}
			value, _ := bound["value"].([]byte)
			moved := w.move.Location(string(value))
			if strings.HasPrefix("file://"+w.move.From, moved) || strings.HasPrefix(w.move.From, moved) {
				moved = none
			}
			bound["value"] = []byte(moved)
		}
	}
}

func number(value any) int64 {
	switch n := value.(type) {
	case int32:
		return int64(n)
	case int64:
		return n
	case int:
		return int64(n)
	}
	return 0
}

// avro copies an Avro file, with edited records.
func (w *writer) avro(before string, edit func(record map[string]any) error) (string, error) {
	in, err := w.files.Open(w.move.Location(before))
	if err != nil {
		return "", err
	}
	defer in.Close()
	var plain *avro.Schema
	r, err := ocf.NewReader(in, ocf.WithReaderSchemaFunc(func(r *ocf.Reader) (*avro.Schema, error) {
		plain, err = withoutLogicalTypes(r.Metadata()["avro.schema"])
		return plain, err
	}))
	if err != nil {
		return "", err
	}
	defer r.Close()
	header := map[string][]byte{}
	for key, value := range r.Metadata() {
		if !strings.HasPrefix(key, "avro.") {
			header[key] = value
		}
	}
	return w.create(w.locations.NewMetadataLocation(newName(before)), func(file io.Writer) error {
		out, err := ocf.NewWriter(file, plain, ocf.WithSchema(string(r.Metadata()["avro.schema"])), ocf.WithMetadata(header), ocf.WithCodec(ocf.DeflateCodec(-1)))
		if err != nil {
			return err
		}
		for {
			var record map[string]any
			if err := r.Decode(&record); errors.Is(err, io.EOF) {
				break
			} else if err != nil {
				return errors.Join(err, out.Close())
			}
			if err := edit(record); err != nil {
				return errors.Join(err, out.Close())
			}
			if err := out.Encode(record); err != nil {
				return errors.Join(err, out.Close())
			}
		}
		return out.Close()
	})
}

// newName is a name of the same kind as another one.
func newName(before string) string {
	name := filenames.New(path.Ext(before))
	if base := path.Base(before); strings.HasPrefix(base, "snap-") {
		id, _, _ := strings.Cut(strings.TrimPrefix(base, "snap-"), "-")
		return "snap-" + id + "-0-" + name
	}
	return name
}

// withoutLogicalTypes is a schema of the same encoding by which values are
// copied as they are stored.
func withoutLogicalTypes(schema []byte) (*avro.Schema, error) {
	var doc any
	if err := json.Unmarshal(schema, &doc); err != nil {
		return nil, err
	}
	strip(doc)
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return avro.Parse(string(text))
}

func strip(node any) {
	switch n := node.(type) {
	case map[string]any:
		delete(n, "logicalType")
		for _, inner := range n {
			strip(inner)
		}
	case []any:
		for _, inner := range n {
			strip(inner)
		}
	}
}
