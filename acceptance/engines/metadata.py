"""Validates files by the model of Airbyte's connector registry.

    metadata.py METADATA_YAML…
"""

import pathlib
import sys

import yaml
from airbyte_connector_models.metadata.v0.connector_metadata_definition_v0 import ConnectorMetadataDefinitionV0

for path in sys.argv[1:]:
    ConnectorMetadataDefinitionV0.model_validate(yaml.safe_load(pathlib.Path(path).read_text()))
