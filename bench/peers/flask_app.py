"""Flask as its tutorial writes it."""

from flask import Flask, jsonify, request
from functions import WORK

app = Flask(__name__)


@app.get("/echo")
def echo():
    return jsonify(result=WORK["/echo"](request.args["num"]))


@app.get("/fib")
def fib():
    return jsonify(result=WORK["/fib"](request.args["num"]))
