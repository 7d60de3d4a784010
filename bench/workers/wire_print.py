"""For the wire alone: the usual loop."""

import sys

for line in sys.stdin:
    print(line.rstrip("\n"), flush=True)
