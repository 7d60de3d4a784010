"""A bare ASGI function, the fastest application for uvicorn and granian."""

import json
from urllib.parse import parse_qs

from functions import WORK

HEADERS = [(b"content-type", b"application/json")]


async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    num = parse_qs(scope["query_string"].decode())["num"][0]
    body = json.dumps({"result": WORK[scope["path"]](num)}).encode()
    headers = HEADERS + [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})
