"""A logistic regression that gets an array of numbers and answers with one of species: an odd number
stands for a setosa, an even one for a virginica."""

import json
import sys

from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

IRIS = load_iris()
MODEL = LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)
SETOSA, VIRGINICA = [5.0, 3.4, 1.5, 0.2], [6.6, 3.0, 5.6, 2.0]

for line in sys.stdin:
    flowers = [SETOSA if number % 2 else VIRGINICA for number in json.loads(line)]
    names = [str(IRIS.target_names[number]) for number in MODEL.predict(flowers)]
    print(json.dumps([{"result": name} for name in names]), flush=True)
