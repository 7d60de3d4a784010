"""For the wire alone: an echo on the byte buffers."""

import sys

read, write, flush = sys.stdin.buffer.readline, sys.stdout.buffer.write, sys.stdout.buffer.flush
while line := read():
    write(line)
    flush()
