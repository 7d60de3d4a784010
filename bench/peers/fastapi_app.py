"""FastAPI as its tutorial writes it; plain functions run in its threads."""

from fastapi import FastAPI
from functions import WORK

app = FastAPI()


@app.get("/echo")
def echo(num: int):
    return {"result": WORK["/echo"](str(num))}


@app.get("/fib")
def fib(num: int):
    return {"result": WORK["/fib"](str(num))}
