"""Callers that ask one after the other, each on a connection of its own, for some seconds or some
number of questions. Prints what they saw as JSON, with the CPU time of this process.

    spread_caller.py KIND PORT PAUSE CALLERS SECONDS MOST FIRST

Once all are connected it prints `ready`, and begins when it reads a line.
"""

import contextlib
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


def request():
    from nats_client import Nats

    nats, inbox = Nats(port), f"caller.{threading.get_ident()}"
    nats.subscribe(inbox)

    def ask(num):
        nats.publish(("work", inbox, b"%d %d" % (pause, num)))
        answer = nats.next()
        if answer is None or answer[1] != b"%d" % num:
            raise RuntimeError(f"{num}: {answer}")

    return ask


def jetstream():
    from nats_client import Nats

    nats, inbox = Nats(port), f"caller.{threading.get_ident()}"
    nats.subscribe(inbox)
    nats.work_queue(inbox)

    def ask(num):
        nats.publish(("work", inbox, b"%b %d %d" % (inbox.encode(), pause, num)))
        # That it is stored, and the answer, in any order.
        answers = [nats.next(), nats.next()]
        if not any(answer and answer[1] == b"%d" % num for answer in answers):
            raise RuntimeError(f"{num}: {answers}")

    return ask


def streams():
    import redis

    server, to = redis.Redis(port=port), f"answers:{threading.get_ident()}"

    def ask(num):
        server.xadd("work", {"to": to, "text": b"%d %d" % (pause, num)})
        answer = server.blpop(to, timeout=30)
        if answer is None or answer[1] != b"%d" % num:
            raise RuntimeError(f"{num}: {answer}")

    return ask


def ray():
    import ray_work

    ray_work.connect(port)
    return lambda num: ray_work.ask(pause, num)


times, wrong = [], []


KINDS = {
    "http": http, "celery": celery, "rabbit": rabbit, "request": request, "jetstream": jetstream,
    "streams": streams, "ray": ray,
}  # fmt: skip
ready = threading.Barrier(callers + 1)


def caller(place):
    try:
        ask = KINDS[kind]()
        num, own = int(first) + place, []
        ready.wait(60)
        until = time.monotonic() + seconds
        while time.monotonic() < until and (not most or len(own) < most):
            since = time.perf_counter()
            ask(num)
            own.append(time.perf_counter() - since)
            num += callers
        times.extend(own)
    except Exception as error:  # noqa: BLE001
        wrong.append(repr(error))
        ready.abort()


threads = [threading.Thread(target=caller, args=(place,), daemon=True) for place in range(callers)]
for thread in threads:
    thread.start()
with contextlib.suppress(threading.BrokenBarrierError):
    while ready.n_waiting < callers and not ready.broken:
        time.sleep(0.005)
    # From now on the processor time of all others is counted.
    print("ready", flush=True)
    sys.stdin.readline()
    ready.wait(60)
begun, before = time.monotonic(), sum(os.times()[:2])
for thread in threads:
    thread.join()
took, spent = time.monotonic() - begun, sum(os.times()[:2]) - before
times.sort()
at = lambda part: 1000 * times[min(len(times) - 1, int(part * len(times)))] if times else None  # noqa: E731
print(json.dumps({
    "calls": len(times), "rps": len(times) / took, "p50_ms": at(0.5), "p99_ms": at(0.99),
    "wrong": wrong[:3], "caller_cpu_s": spent,
}), flush=True)  # fmt: skip
