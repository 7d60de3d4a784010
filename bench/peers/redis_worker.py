"""The same work as a consumer of a Redis stream; the answer goes into a list of its caller.

    redis_worker.py PORT NUMBER
"""

import sys
import time

import redis

port, number = sys.argv[1:]
server = redis.Redis(port=int(port))
try:
    server.xgroup_create("work", "workers", id="0", mkstream=True)
except redis.ResponseError:
    pass  # Another one has made it.
while True:
    for _, messages in server.xreadgroup("workers", number, {"work": ">"}, count=1, block=30_000) or []:
        for place, asked in messages:
            pause, num = asked[b"text"].split()
            if pause != b"0":
                time.sleep(int(pause) / 1000)
            with server.pipeline(transaction=False) as pipe:
                pipe.rpush(asked[b"to"], num).xack("work", "workers", place).xdel("work", place).execute()
