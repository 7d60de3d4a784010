"""A worker that speaks JSON both ways."""

import json
import sys

for line in sys.stdin:
    question = json.loads(line)
    print(json.dumps({"id": question["id"], "result": str(question["num"])}), flush=True)
