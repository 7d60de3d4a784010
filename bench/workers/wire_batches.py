"""For the wire alone: reads what is there, answers all whole lines with one write."""

import os

rest = b""
while chunk := os.read(0, 65536):
    lines, newline, rest = (rest + chunk).rpartition(b"\n")
    if newline:
        os.write(1, lines + newline)
