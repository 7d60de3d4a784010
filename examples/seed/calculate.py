"""Fibonacci numbers: one number a line in, `number|result` a line out."""

import sys


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


for line in sys.stdin:
    num = line.strip()
    print(f"{num}|{fib(int(num))}", flush=True)
