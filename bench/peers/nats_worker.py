"""The same work behind NATS: `request` (a queue group) or `jetstream` (a work queue that stores calls).

    nats_worker.py KIND PORT NUMBER
"""

import sys
import time

from nats_client import NEXT, Nats

kind, port, number = sys.argv[1:]
inbox = f"worker.{number}"
nats = Nats(port)


def work(text):
    pause, num = text.split()
    if pause != b"0":
        time.sleep(int(pause) / 1000)
    return num


if kind == "request":
    nats.subscribe("work", "workers")
    while True:
        to, text = nats.next()
        nats.publish((to, "", work(text)))

# One call at a time, and the next one with the acknowledgement.
nats.subscribe(inbox)
nats.work_queue(inbox)
wanted = (NEXT, inbox, b'{"batch":1,"expires":30000000000}')
nats.publish(wanted)
while True:
    message = nats.next()
    if message is None:
        # None came in thirty seconds.
        nats.publish(wanted)
        continue
    acknowledge, text = message
    to, text = text.split(b" ", 1)
    nats.publish((to.decode(), "", work(text)), (acknowledge, "", b"+ACK"), wanted)
