"""The work that every party serves: the same Python functions for all of them."""


def echo(num):
    return num


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


# What each path does with the text of `num`; the result is text again.
WORK = {"/echo": echo, "/fib": lambda num: str(fib(int(num)))}
