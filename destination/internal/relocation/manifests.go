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

func (w *writer) rewriteManifestList(ctx context.Context, before, snapshot string) (rewritten, error) {
	return w.rewriteOnce(ctx, before, func(change *sizeChange) (string, error) {
		return w.rewriteAvro(before, func(manifest map[string]any) error {
			location, ok := manifest["manifest_path"].(string)
			if !ok {
				return errors.New("it has a manifest without a path")
			}
			made, err := w.rewriteManifest(ctx, location)
			manifest["manifest_path"], manifest["manifest_length"] = made.location, made.bytes
			change.live += made.change.live
			if strconv.FormatInt(number(manifest["added_snapshot_id"]), 10) == snapshot {
				change.added += made.change.added
				change.removed += made.change.removed
			}
			return err
		})
	})
}

// The status of a manifest entry and the content of its file, as in Iceberg's
// specification.
const (
	addedEntry      = 1
	deletedEntry    = 2
	positionDeletes = 1
)

func (w *writer) rewriteManifest(ctx context.Context, before string) (rewritten, error) {
	return w.rewriteOnce(ctx, before, func(change *sizeChange) (string, error) {
		return w.rewriteAvro(before, func(entry map[string]any) error {
			file, ok := entry["data_file"].(map[string]any)
			if !ok {
				return errors.New("it has an entry without a file")
			}
			status, bytes := number(entry["status"]), number(file["file_size_in_bytes"])
			if err := w.updateEntry(ctx, file, status == deletedEntry); err != nil {
				return err
			}
			switch by := number(file["file_size_in_bytes"]) - bytes; status {
			case deletedEntry:
				change.removed += by
			case addedEntry:
				change.added += by
				change.live += by
			default:
				change.live += by
			}
			return nil
		})
	})
}

// updateEntry changes the paths in a manifest's entry for a data or delete file.
// The file of a deleted entry may be missing.
func (w *writer) updateEntry(ctx context.Context, file map[string]any, deleted bool) error {
	before := textOf(file["file_path"])
	file["file_path"] = w.move.Location(before)
	if referenced, ok := file["referenced_data_file"].(string); ok {
		file["referenced_data_file"] = w.move.Location(referenced)
	}
	if number(file["content"]) != positionDeletes {
		if deleted {
			return nil
		}
		return w.checkExists(before)
	}
	w.updateBounds(file)
	if _, known := w.written[before]; deleted && !known {
		return nil
	}
	made, err := w.rewriteDeletes(ctx, before, textOf(file["file_format"]))
	if err != nil {
		return err
	}
	file["file_path"], file["file_size_in_bytes"] = made.location, made.bytes
	if _, has := file["split_offsets"]; has {
		file["split_offsets"] = nil
	}
	return nil
}

// pathFieldID is the reserved field id of file_path in position delete files.
const pathFieldID = 2147483546

// updateBounds changes the bounds of that column. Where both are in the old directory,
// so is every path between them. Others may be of paths that have not moved, or cut
// within the path of that directory, and say nothing about the new paths.
func (w *writer) updateBounds(file map[string]any) {
	bounds := map[string][]map[string]any{}
	moved := 0
	for _, key := range []string{"lower_bounds", "upper_bounds"} {
		for _, bound := range objects(file[key]) {
			if number(bound["key"]) == pathFieldID {
				bounds[key] = append(bounds[key], bound)
				if w.move.Concerns(pathBound(bound)) {
					moved++
				}
			}
		}
	}
	for key, none := range map[string]string{"lower_bounds": "", "upper_bounds": "\U0010FFFF"} {
		for _, bound := range bounds[key] {
			if moved == 2 {
				bound["value"] = []byte(w.move.Location(pathBound(bound)))
			} else {
				bound["value"] = []byte(none)
			}
		}
	}
}

func pathBound(bound map[string]any) string {
	value, _ := bound["value"].([]byte)
	return string(value)
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

// rewriteAvro copies an Avro file, with edited records.
func (w *writer) rewriteAvro(before string, edit func(record map[string]any) error) (string, error) {
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

// newName returns a new file name of the same kind.
func newName(before string) string {
	name := filenames.New(path.Ext(before))
	if base := path.Base(before); strings.HasPrefix(base, "snap-") {
		id, _, _ := strings.Cut(strings.TrimPrefix(base, "snap-"), "-")
		return "snap-" + id + "-0-" + name
	}
	return name
}

// withoutLogicalTypes returns a schema of the same encoding by which values are
// copied as they are stored.
func withoutLogicalTypes(schema []byte) (*avro.Schema, error) {
	var doc any
	if err := json.Unmarshal(schema, &doc); err != nil {
		return nil, err
	}
	removeLogicalTypes(doc)
	text, err := json.Marshal(doc)
	if err != nil {
		return nil, err
	}
	return avro.Parse(string(text))
}

func removeLogicalTypes(node any) {
	switch n := node.(type) {
	case map[string]any:
		delete(n, "logicalType")
		for _, inner := range n {
			removeLogicalTypes(inner)
		}
	case []any:
		for _, inner := range n {
			removeLogicalTypes(inner)
		}
	}
}
