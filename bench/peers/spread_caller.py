"""Callers that ask one after the other, each on a connection of its own, for some seconds or some
number of questions. Prints what they saw as JSON, with the CPU time of this process.

    spread_caller.py KIND PORT PAUSE CALLERS SECONDS MOST FIRST
"""

import json
import os
import socket
import sys
import threading
import time

kind, port, pause, callers, seconds, most, first = sys.argv[1], *map(int, sys.argv[2:5]), *map(float, sys.argv[5:])


def http():
    stream = socket.create_connection(("127.0.0.1", port))
    stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def ask(num):
        stream.sendall(b"GET /work?pause=%d&num=%d HTTP/1.1\r\nHost: localhost\r\n\r\n" % (pause, num))
        answer = stream.recv(65536)
        while not answer.endswith(b'"}'):
            more = stream.recv(65536)
            if not more:
                raise RuntimeError(f"the connection has ended after {answer[:60]!r}")
            answer += more
        if not (answer.startswith(b"HTTP/1.1 200") and answer.endswith(b'"result":"%d"}' % num)):
            raise RuntimeError(f"{num}: {answer[:200]!r}")

    return ask


def celery():
    from celery_app import work

    def ask(num):
        found = work.apply_async((pause, num)).get(timeout=30, interval=0.001)
        if found != str(num):
            raise RuntimeError(f"{num}: {found}")

    return ask


def rabbit():
    import pika

    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1", port))
    channel = connection.channel()
    answers = []
    reply_to = "amq.rabbitmq.reply-to"
    channel.basic_consume(reply_to, lambda *it: answers.append(it[3]), auto_ack=True)
    properties = pika.BasicProperties(reply_to=reply_to)

    def ask(num):
        channel.basic_publish("", "work", b"%d %d" % (pause, num), properties)
        while not answers:
            connection.process_data_events(time_limit=30)
        if answers.pop() != b"%d" % num:
            raise RuntimeError(f"{num} got another answer")

    return ask


times, wrong = [], []


def caller(place):
    try:
        ask = {"http": http, "celery": celery, "rabbit": rabbit}[kind]()
        num, own = int(first) + place, []
        while time.monotonic() < until and (not most or len(own) < most):
            since = time.perf_counter()
            ask(num)
            own.append(time.perf_counter() - since)
            num += callers
        times.extend(own)
    except Exception as error:  # noqa: BLE001
        wrong.append(repr(error))


begun = time.monotonic()
until = begun + seconds
threads = [threading.Thread(target=caller, args=(place,)) for place in range(callers)]
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
took = time.monotonic() - begun
times.sort()
at = lambda part: 1000 * times[min(len(times) - 1, int(part * len(times)))] if times else None  # noqa: E731
print(json.dumps({
    "calls": len(times), "rps": len(times) / took, "p50_ms": at(0.5), "p99_ms": at(0.99),
    "wrong": wrong[:3], "caller_cpu_s": sum(os.times()[:2]),
}))
