"""Fibonacci numbers that begin with what is known: `number {"number": answer, …}` a line in,
`result|additions` a line out."""

import json
import sys


def fib(n, known):
    """Returns the n-th number, and how many additions it took."""
    if n in known:
        return known[n], 0
    if n < 2:
        return n, 0
    (one, before), (other, after) = fib(n - 1, known), fib(n - 2, known)
    return one + other, before + after + 1


for line in sys.stdin:
    num, answers = line.split(" ", 1)
    known = {int(n): int(answer["result"]) for n, answer in json.loads(answers).items()}
    result, additions = fib(int(num), known)
    print(f"{result}|{additions}", flush=True)
