"""The plainest worker there is: a line in, the line and its result out."""

import sys

for line in sys.stdin:
    num = line.strip()
    print(f"{num}|{num}", flush=True)
