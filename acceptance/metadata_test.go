package acceptance

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"gopkg.in/yaml.v3"
)

// connectorMetadata is the part of a metadata.yaml that others here must agree with.
type connectorMetadata struct {
	Data struct {
		Name             string
		ConnectorType    string `yaml:"connectorType"`
		DockerRepository string `yaml:"dockerRepository"`
		DockerImageTag   string `yaml:"dockerImageTag"`
		DocumentationURL string `yaml:"documentationUrl"`
		Icon             string
		AllowedHosts     struct{ Hosts []string }   `yaml:"allowedHosts"`
		SuggestedStreams struct{ Streams []string } `yaml:"suggestedStreams"`
	}
}

// The metadata of both connectors say what the images, the specifications and the pages say.
func TestMetadataAgreeWithTheConnectors(t *testing.T) {
	for _, connector := range []string{"source", "destination"} {
		t.Run(connector, func(t *testing.T) {
			metadata := readMetadata(t, connector).Data
			if metadata.ConnectorType != connector {
				t.Errorf("connectorType is %s", metadata.ConnectorType)
			}
			if label := "LABEL io.airbyte.name=" + metadata.DockerRepository + " "; !strings.Contains(text(t, "Dockerfile"), label) {
				t.Errorf("the image has no %s", label)
			}
			if url := fmt.Sprintf("%q", metadata.DocumentationURL); !strings.Contains(text(t, connector+"/testdata/spec.json"), `"documentationUrl": `+url) {
				t.Errorf("the specification does not name %s", url)
			}
			icon := text(t, filepath.Join(connector, metadata.Icon))
			for d := xml.NewDecoder(strings.NewReader(icon)); ; {
				if _, err := d.Token(); errors.Is(err, io.EOF) {
					break
				} else if err != nil {
					t.Fatal(err)
				}
			}
			if page := "docs/" + connector + ".md"; !strings.HasSuffix(metadata.DocumentationURL, "/"+page) {
				t.Errorf("documentationUrl is %s, want %s", metadata.DocumentationURL, page)
			} else if version := fmt.Sprintf("\n| %s | ", metadata.DockerImageTag); !strings.Contains(text(t, page), version) {
				t.Errorf("the changelog of %s does not have version %s", page, metadata.DockerImageTag)
			}
			if how := text(t, "docs/airbyte.md"); !strings.Contains(how, metadata.DocumentationURL) || !strings.Contains(how, metadata.DockerRepository+"`") || !strings.Contains(how, "`"+metadata.Name+"`") {
				t.Errorf("docs/airbyte.md does not say how to add %s", metadata.Name)
			}
		})
	}
	source := readMetadata(t, "source").Data
	if !strings.Contains(text(t, "source/testdata/spec.json"), `"https://`+source.AllowedHosts.Hosts[0]+`"`) {
		t.Errorf("%s is not the default host of the source", source.AllowedHosts.Hosts[0])
	}
	for _, name := range source.SuggestedStreams.Streams {
		if !strings.Contains(text(t, "docs/source.md"), "\n| `"+name+"` | ") {
			t.Errorf("the source has no stream %s", name)
		}
	}
}

// The pages of the connectors have the sections of Airbyte's own, in their order.
func TestPagesHaveTheSectionsOfAirbytes(t *testing.T) {
	want := map[string][]string{
		"source":      {"# WHOOP", "## Prerequisites", "## Setup guide", "## Supported sync modes", "## Supported Streams", "## Changelog"},
		"destination": {"# Apache Iceberg", "## Prerequisites", "## Setup guide", "## Supported sync modes", "## Changelog"},
	}
	for connector, sections := range want {
		headings := regexp.MustCompile(`(?m)^##? .*$`).FindAllString(text(t, "docs/"+connector+".md"), -1)
		var got []string
		for _, heading := range headings {
			if slices.Contains(sections, heading) {
				got = append(got, heading)
			}
		}
		if diff := cmp.Diff(sections, got); diff != "" {
			t.Errorf("docs/%s.md (-want +got):\n%s", connector, diff)
		}
		if last := headings[len(headings)-1]; last != "## Changelog" || headings[0] != sections[0] {
			t.Errorf("docs/%s.md begins with %s and ends with %s", connector, headings[0], last)
		}
	}
}

func readMetadata(t *testing.T, connector string) connectorMetadata {
	t.Helper()
	var metadata connectorMetadata
	if err := yaml.NewDecoder(bytes.NewBufferString(text(t, connector+"/metadata.yaml"))).Decode(&metadata); err != nil {
		t.Fatal(err)
	}
	return metadata
}

// text is a file of the repository.
func text(t *testing.T, path string) string {
	t.Helper()
	content, err := os.ReadFile(filepath.Join("..", path))
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}
