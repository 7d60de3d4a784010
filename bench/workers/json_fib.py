"""A fibonacci worker that speaks JSON both ways."""

import json
import sys


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


for line in sys.stdin:
    question = json.loads(line)
    result = str(fib(question["num"]))
    print(json.dumps({"id": question["id"], "result": result}), flush=True)
