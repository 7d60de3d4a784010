"""Turns each text round; questions and answers are netstrings."""

import sys

import pynetstring

decoder = pynetstring.Decoder()
while data := sys.stdin.buffer.read1(65536):
    for message in decoder.feed(data):
        reply = message.decode()[::-1]
        sys.stdout.buffer.write(pynetstring.encode(reply.encode()))
        sys.stdout.buffer.flush()
