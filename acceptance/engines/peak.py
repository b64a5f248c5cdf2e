"""Runs a program, with standard input and output as they are, and prints {"peak": BYTES} when it has succeeded.

    peak.py PROGRAM ARGUMENTS…

The memory that a process has when it starts a program counts as the program's, too. So a test that holds much has it
started from here.
"""

import json
import os
import sys

_, status, usage = os.wait4(os.spawnv(os.P_NOWAIT, sys.argv[1], sys.argv[1:]), 0)
if status != 0:
    sys.exit(f"{sys.argv[1]} ended with {status}")
print(json.dumps({"peak": usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024)}))
