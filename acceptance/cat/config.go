// Package cat executes acceptance-test-config.yml, the file in which a source
// says how Airbyte's connector acceptance tests are to be run on it.
//
// The tests have Airbyte's names and demand what Airbyte's do; where the source
// promises more, they demand that. These of Airbyte's are not here:
//
//   - test_image_labels, test_image_environment_variables: they look at an
//     image, this package runs a binary. The tests of the images have them.
//   - test_backward_compatibility (of spec and of discovery): there is no
//     released version to compare with.
//   - test_required, test_optional, test_has_secret: they are empty.
//   - test_oauth_flow_parameters: the source has no advanced_auth, which
//     test_oauth_is_default_method makes sure of.
//   - test_all_supported_file_types_present: the source reads no files.
//   - TestConnectorAttributes, TestConnectorDocumentation: the file says why.
package cat

import (
	"errors"
	"fmt"
	"os"

	"gopkg.in/yaml.v3"
)

// Config is acceptance-test-config.yml, as far as this package executes it: a
// key that it would pass over is an error, Airbyte's own included. Paths are
// relative to the directory of the file.
type Config struct {
	Image      string `yaml:"connector_image"`
	Strictness string `yaml:"test_strictness_level"` // low or high
	Tests      struct {
		Spec          Section[SpecTest]        `yaml:"spec"`
		Connection    Section[ConnectionTest]  `yaml:"connection"`
		Discovery     Section[DiscoveryTest]   `yaml:"discovery"`
		BasicRead     Section[BasicReadTest]   `yaml:"basic_read"`
		FullRefresh   Section[FullRefreshTest] `yaml:"full_refresh"`
		Incremental   Section[IncrementalTest] `yaml:"incremental"`
		Attributes    Section[struct{}]        `yaml:"connector_attributes"`
		Documentation Section[struct{}]        `yaml:"connector_documentation"`
	} `yaml:"acceptance_tests"`
}

// A Section has tests, or the reason why there are none.
type Section[T any] struct {
	Tests  []T    `yaml:"tests"`
	Bypass string `yaml:"bypass_reason"`
}

// SpecTest compares the specification with a file and a configuration.
type SpecTest struct {
	Spec   string `yaml:"spec_path"`
	Config string `yaml:"config_path"`
	Auth   struct {
		OAuth  bool   `yaml:"oauth"`
		Bypass string `yaml:"bypass_reason"`
	} `yaml:"auth_default_method"`
}

// ConnectionTest says how a check must end: succeed, failed or exception.
type ConnectionTest struct {
	Config string `yaml:"config_path"`
	Status string `yaml:"status"`
}

// DiscoveryTest names a configuration to discover with.
type DiscoveryTest struct {
	Config string `yaml:"config_path"`
}

// BasicReadTest says what a read must give. Absent switches are on, as at
// Airbyte's, but for ValidateStatuses.
type BasicReadTest struct {
	Config  string   `yaml:"config_path"`
	Catalog string   `yaml:"configured_catalog_path"`
	Empty   []Exempt `yaml:"empty_streams"`
	Expect  struct {
		Path       string `yaml:"path"`
		ExactOrder bool   `yaml:"exact_order"`
	} `yaml:"expect_records"`
	TraceOnFailure   *bool `yaml:"expect_trace_message_on_failure"`
	FailOnExtra      *bool `yaml:"fail_on_extra_columns"`
	ValidateSchema   *bool `yaml:"validate_schema"`
	ValidateStates   *bool `yaml:"validate_state_messages"`
	ValidateStatuses *bool `yaml:"validate_stream_statuses"`
	ValidateKeyTypes *bool `yaml:"validate_primary_keys_data_type"`
}

func enabled(option *bool, absent bool) bool {
	if option == nil {
		return absent
	}
	return *option
}

// FullRefreshTest says what may differ between two reads of the same data.
type FullRefreshTest struct {
	Config  string              `yaml:"config_path"`
	Catalog string              `yaml:"configured_catalog_path"`
	Ignored map[string][]Exempt `yaml:"ignored_fields"` // by stream
}

// IncrementalTest names a state beyond which nothing can be.
type IncrementalTest struct {
	Config  string `yaml:"config_path"`
	Catalog string `yaml:"configured_catalog_path"`
	Future  struct {
		Path    string   `yaml:"future_state_path"`
		Missing []Exempt `yaml:"missing_streams"`
	} `yaml:"future_state"`
}

// Exempt is a stream or a field that a rule does not hold for.
type Exempt struct {
	Name   string `yaml:"name"`
	Bypass string `yaml:"bypass_reason"`
}

// Load reads acceptance-test-config.yml.
func Load(path string) (Config, error) {
	var c Config
	f, err := os.Open(path)
	if err != nil {
		return c, err
	}
	defer f.Close()
	decoder := yaml.NewDecoder(f)
	decoder.KnownFields(true)
	if err := decoder.Decode(&c); err != nil {
		return c, fmt.Errorf("reading %s: %w", path, err)
	}
	if err := c.validate(); err != nil {
		return c, fmt.Errorf("reading %s: %w", path, err)
	}
	return c, nil
}

// validate demands what the level of strictness does.
func (c Config) validate() error {
	var errs []error
	if c.Image == "" {
		errs = append(errs, errors.New("connector_image is missing"))
	}
	if c.Strictness != "low" && c.Strictness != "high" {
		errs = append(errs, fmt.Errorf("test_strictness_level is %q, not low or high", c.Strictness))
	}
	high := c.Strictness == "high"
	t := c.Tests
	for name, s := range map[string]struct {
		tests  int
		bypass string
	}{
		"spec":                    {len(t.Spec.Tests), t.Spec.Bypass},
		"connection":              {len(t.Connection.Tests), t.Connection.Bypass},
		"discovery":               {len(t.Discovery.Tests), t.Discovery.Bypass},
		"basic_read":              {len(t.BasicRead.Tests), t.BasicRead.Bypass},
		"full_refresh":            {len(t.FullRefresh.Tests), t.FullRefresh.Bypass},
		"incremental":             {len(t.Incremental.Tests), t.Incremental.Bypass},
		"connector_attributes":    {len(t.Attributes.Tests), t.Attributes.Bypass},
		"connector_documentation": {len(t.Documentation.Tests), t.Documentation.Bypass},
	} {
		if (s.tests > 0) == (s.bypass != "") && (high || s.tests > 0) {
			errs = append(errs, fmt.Errorf("section %s must have either tests or a bypass_reason", name))
		}
	}
	for name, tests := range map[string]int{"connector_attributes": len(t.Attributes.Tests), "connector_documentation": len(t.Documentation.Tests)} {
		if tests > 0 {
			errs = append(errs, fmt.Errorf("section %s has tests, which nothing executes", name))
		}
	}
	for _, test := range t.BasicRead.Tests {
		if high && test.Expect.Path == "" {
			errs = append(errs, errors.New("section basic_read has no expect_records"))
		}
		errs = append(errs, explained("empty_streams", test.Empty))
	}
	for _, test := range t.FullRefresh.Tests {
		for _, fields := range test.Ignored {
			errs = append(errs, explained("ignored_fields", fields))
		}
	}
	for _, test := range t.Incremental.Tests {
		if high && test.Future.Path == "" {
			errs = append(errs, errors.New("section incremental has no future_state"))
		}
		errs = append(errs, explained("missing_streams", test.Future.Missing))
	}
	for _, test := range t.Spec.Tests {
		if !test.Auth.OAuth && test.Auth.Bypass == "" {
			errs = append(errs, errors.New("auth_default_method is not OAuth and has no bypass_reason"))
		}
	}
	return errors.Join(errs...)
}

func explained(where string, list []Exempt) error {
	for _, e := range list {
		if e.Name == "" || e.Bypass == "" {
			return fmt.Errorf("%s: %q has no bypass_reason", where, e.Name)
		}
	}
	return nil
}
