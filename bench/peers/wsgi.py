"""A bare WSGI function, for granian and uwsgi."""

import json
from urllib.parse import parse_qs

from functions import WORK


def app(environ, start_response):
    num = parse_qs(environ["QUERY_STRING"])["num"][0]
    body = json.dumps({"result": WORK[environ["PATH_INFO"]](num)}).encode()
    headers = [("Content-Type", "application/json"), ("Content-Length", str(len(body)))]
    start_response("200 OK", headers)
    return [body]


application = app
