"""The same work as functions: no loop, and arguments by their types."""


def echo(num: int) -> dict:
    return {"result": num}


def fib(num: int) -> dict:
    return {"result": recursive(num)}


def recursive(n):
    return n if n < 2 else recursive(n - 1) + recursive(n - 2)
