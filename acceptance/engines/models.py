"""Validates messages with the models of Airbyte's protocol. Prints how many there are, and fails for each that does not fit.

    models.py TRANSCRIPT
"""

import collections
import sys

from airbyte_protocol.models import AirbyteMessage
from pydantic import ValidationError

PAYLOADS = {
    "RECORD": "record", "STATE": "state", "LOG": "log", "SPEC": "spec", "CONNECTION_STATUS": "connectionStatus",
    "CATALOG": "catalog", "TRACE": "trace", "CONTROL": "control",
}

counts, problems = collections.Counter(), []
with open(sys.argv[1], "rb") as transcript:
    for line in transcript:
        try:
            message = AirbyteMessage.model_validate_json(line)
        except ValidationError as error:
            problems.append(f"{error}: {line[:1000]!r}")
            continue
        counts[message.type.value] += 1
        payloads = [name for name in PAYLOADS.values() if getattr(message, name) is not None]
        if payloads != [PAYLOADS[message.type.value]] or message.model_extra:
            problems.append(f"a message with {payloads} and {message.model_extra}: {line[:1000]!r}")
print(dict(counts))
if problems:
    sys.exit(f"{len(problems)} messages do not fit the models:\n" + "\n".join(problems[:20]))
