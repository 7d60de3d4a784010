"""A worker that takes its time: `MILLISECONDS NUMBER` in, the line and the number out."""

import sys
import time

for line in sys.stdin:
    line = line.strip()
    pause, num = line.split()
    if pause != "0":
        time.sleep(int(pause) / 1000)
    print(f"{line}|{num}", flush=True)
