"""For the wire alone: the loop that everybody writes."""

import sys

for line in sys.stdin:
    print(line.rstrip("\n"), flush=True)
