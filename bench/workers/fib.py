"""The maths team's fibonacci as a plain worker: a line in, the line and its result out."""

import sys


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


for line in sys.stdin:
    num = line.strip()
    print(f"{num}|{fib(int(num))}", flush=True)
