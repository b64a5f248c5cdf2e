"""Airbyte's standard tests of a connector's image, as its CDK has them.

The directory is that of a connector: its name begins with source- or destination-, and it has metadata.yaml and
acceptance-test-config.yml. Keys of the older acceptance tests, which the standard tests refuse, are left out.
"""

from airbyte_cdk.test.models.scenario import entry_key_problems
from airbyte_cdk.test.standard_tests.docker_base import DockerConnectorTestSuite
from boltons.typeutils import classproperty

pytest_plugins = ["airbyte_cdk.test.standard_tests.pytest_hooks"]


class TestImage(DockerConnectorTestSuite):
    @classproperty
    def acceptance_test_config(cls):
        config = super().acceptance_test_config
        for section, content in config["acceptance_tests"].items():
            for entry in content.get("tests", []):
                for key in list(entry):
                    if entry_key_problems({key: entry[key]}, (section,)):
                        del entry[key]
        return config
