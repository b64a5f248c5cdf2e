package main

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	cyclonedx "github.com/CycloneDX/cyclonedx-go"
)

// billOfMaterials names the parts of a program, as CycloneDX in JSON.
func (r release) billOfMaterials(name string, p platform, parts []part) ([]byte, error) {
	bom := cyclonedx.NewBOM()
	own := cyclonedx.Component{
		BOMRef: fmt.Sprintf("pkg:golang/%s@%s?goos=%s&goarch=%s#%s", module, r.version, p.system, p.architecture, name),
		Type:   cyclonedx.ComponentTypeApplication, Name: name, Version: r.version,
		Licenses: &cyclonedx.Licenses{{License: &cyclonedx.License{ID: "Apache-2.0"}}},
	}
	own.PackageURL = own.BOMRef
	bom.Metadata = &cyclonedx.Metadata{Timestamp: r.time.Format(time.RFC3339), Component: &own}
	components := make([]cyclonedx.Component, 0, len(parts))
	refs := make([]string, 0, len(parts))
	for _, part := range parts {
		c := cyclonedx.Component{
			Type: cyclonedx.ComponentTypeLibrary, Name: part.path, Version: part.version,
			PackageURL: fmt.Sprintf("pkg:%s/%s@%s", part.kind, part.path, strings.ReplaceAll(part.version, "+", "%2B")),
			Licenses:   licensesOf(part),
		}
		c.BOMRef = c.PackageURL
		if digest, ok := strings.CutPrefix(part.sum, "h1:"); ok {
			raw, err := base64.StdEncoding.DecodeString(digest)
			if err != nil {
				return nil, fmt.Errorf("the checksum of %s: %w", part.path, err)
			}
			c.Hashes = &[]cyclonedx.Hash{{Algorithm: cyclonedx.HashAlgoSHA256, Value: hex.EncodeToString(raw)}}
		}
		components, refs = append(components, c), append(refs, c.BOMRef)
	}
	bom.Components = &components
	bom.Dependencies = &[]cyclonedx.Dependency{{Ref: own.BOMRef, Dependencies: &refs}}
	var out bytes.Buffer
	if err := cyclonedx.NewBOMEncoder(&out, cyclonedx.BOMFileFormatJSON).SetPretty(true).SetEscapeHTML(false).EncodeVersion(bom, cyclonedx.SpecVersion1_6); err != nil {
		return nil, err
	}
	return out.Bytes(), nil
}

func licensesOf(p part) *cyclonedx.Licenses {
	var ids []string
	for _, l := range p.licenses {
		if l.id != "" && !slices.Contains(ids, l.id) {
			ids = append(ids, l.id)
		}
	}
	licenses := make(cyclonedx.Licenses, len(ids))
	for i, id := range ids {
		licenses[i] = cyclonedx.LicenseChoice{License: &cyclonedx.License{ID: id}}
	}
	return &licenses
}
