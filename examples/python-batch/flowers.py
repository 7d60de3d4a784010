"""Reads an array of flowers a line, [[5.1, 3.5, 1.4, 0.2], ...], and writes an array of their species."""

import json
import sys

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

IRIS = load_iris()
MODEL = LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)

for line in sys.stdin:
    flowers = json.loads(line)
    species = [str(IRIS.target_names[number]) for number in MODEL.predict(flowers)]
    print(json.dumps(species), flush=True)
