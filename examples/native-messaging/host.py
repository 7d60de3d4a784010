"""A native messaging host: tells how long each text is."""

import json
import struct
import sys

while len(head := sys.stdin.buffer.read(4)) == 4:
    (length,) = struct.unpack("<I", head)
    text = json.loads(sys.stdin.buffer.read(length)).get("text", "")
    answer = {"length": len(text)} if text else {"error": "no text"}
    body = json.dumps(answer, separators=(",", ":")).encode()
    sys.stdout.buffer.write(struct.pack("<I", len(body)) + body)
    sys.stdout.buffer.flush()
