"""A bare function for RSGI, granian's own interface."""

import json
from urllib.parse import parse_qs

from functions import WORK

HEADERS = [("content-type", "application/json")]


async def app(scope, protocol):
    num = parse_qs(scope.query_string)["num"][0]
    protocol.response_str(200, HEADERS, json.dumps({"result": WORK[scope.path](num)}))
