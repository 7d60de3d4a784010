"""A client of NATS that speaks as much of its protocol as the peers of `bench/spread` need."""

import json
import socket

STREAM = "$JS.API.STREAM.CREATE.work"
CONSUMER = "$JS.API.CONSUMER.DURABLE.CREATE.work.workers"
NEXT = "$JS.API.CONSUMER.MSG.NEXT.work.workers"


class Nats:
    def __init__(self, port):
        self.wire = socket.create_connection(("127.0.0.1", int(port)))
        self.wire.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.heard = self.wire.makefile("rb")
        self.heard.readline()
        self.wire.sendall(b'CONNECT {"verbose":false,"headers":true,"no_responders":true}\r\n')

    def subscribe(self, subject, group=""):
        self.wire.sendall(f"SUB {subject} {group} 1\r\n".encode())

    def publish(self, *messages):
        """Sends messages, each with its subject, where a reply goes (or an empty text), and its payload."""
        lines = [f"PUB {to} {back} {len(text)}\r\n".encode() + text + b"\r\n" for to, back, text in messages]
        self.wire.sendall(b"".join(lines))

    def next(self):
        """Returns where a reply goes and the payload of the next message; `None` for one that is a status."""
        while True:
            line = self.heard.readline()
            words = line.split()
            if not words:
                raise RuntimeError("NATS has ended the connection")
            if words[0] == b"PING":
                self.wire.sendall(b"PONG\r\n")
            elif words[0] == b"-ERR":
                raise RuntimeError(line.decode())
            elif words[0] in (b"MSG", b"HMSG"):
                payload = self.heard.read(int(words[-1]) + 2)[:-2]
                if words[0] == b"HMSG":
                    return None
                return (words[3].decode() if len(words) == 5 else ""), payload

    def ask(self, subject, inbox, payload):
        """Returns what is answered, as JSON."""
        self.publish((subject, inbox, json.dumps(payload).encode()))
        answer = self.next()
        answer = json.loads(answer[1]) if answer else {"error": "nobody answers"}
        if "error" in answer:
            raise RuntimeError(f"{subject}: {answer['error']}")
        return answer

    def work_queue(self, inbox):
        """Makes the stream and the consumer of the work, if they are not there."""
        stream = {"name": "work", "subjects": ["work"], "retention": "workqueue", "storage": "memory"}
        self.ask(STREAM, inbox, stream)
        consumer = {"durable_name": "workers", "ack_policy": "explicit"}
        self.ask(CONSUMER, inbox, {"stream_name": "work", "config": consumer})
