package sandbox

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/ingest-connectors/whoop-iceberg/source/internal/sandbox/member"
)

// A position is what a page token holds. WHOOP's own samples decode to
// {"$":"o@1","o":10}, an offset, and to 123:123123, which may be a start and a
// key. With offsets, records that appear or vanish between two requests shift
// the pages.
type position struct {
	Kind   string `json:"$"`
	Offset int    `json:"o,omitzero"`
	Start  int64  `json:"s,omitzero"` // of the last record, in milliseconds
	Key    string `json:"k,omitzero"`

	AfterEmpty bool   `json:"e,omitzero"` // the client has seen an empty page here
	Window     string `json:"w"`
	Issued     int64  `json:"t"` // in seconds
}

const offsetKind, keysetKind = "o@1", "k@1"

// in returns the index at which the position lies among records.
func (p *position) in(matched []member.Listed) int {
	if p.Kind == offsetKind {
		return min(p.Offset, len(matched))
	}
	last := member.Listed{Key: p.Key, Version: &member.Version{Start: time.UnixMilli(p.Start)}}
	i, found := slices.BinarySearchFunc(matched, last, member.NewestFirst)
	if found {
		i++
	}
	return i
}

// windowOf stands for the start and end of a request; an end that was not given
// is zero.
func windowOf(start, end time.Time) string {
	sum := sha256.Sum256([]byte(start.UTC().String() + end.UTC().String()))
	return base64.RawStdEncoding.EncodeToString(sum[:3])
}

// token seals a position, so that a token of another collection or one mangled
// on the way (a + that was not escaped) is recognised.
func (p *position) token(path string) string {
	text := encode(p)
	return base64.StdEncoding.EncodeToString(append(seal(path, text), text...))
}

const sealLength = 12

func seal(path string, text []byte) []byte {
	sum := sha256.Sum256(append([]byte(path), text...))
	return sum[:sealLength]
}

func positionIn(path, token string) (*position, error) {
	sealed, err := base64.StdEncoding.DecodeString(token)
	if err != nil || len(sealed) < sealLength {
		return nil, fmt.Errorf("nextToken %q is malformed", token)
	}
	text := sealed[sealLength:]
	var p position
	if !bytes.Equal(seal(path, text), sealed[:sealLength]) || json.Unmarshal(text, &p) != nil {
		return nil, fmt.Errorf("nextToken %q is not one of this collection", token)
	}
	return &p, nil
}
