from dataclasses import dataclass

import httpipe
from sklearn.datasets import load_iris
from sklearn.linear_model import LogisticRegression

IRIS = load_iris()
MODEL = LogisticRegression(max_iter=1000).fit(IRIS.data, IRIS.target)


@dataclass
class Flower:
    sepal_length: float
    sepal_width: float
    petal_length: float
    petal_width: float


@httpipe.pure
@httpipe.batch(64)
def classify(flower: list[Flower]) -> list[str]:
    """Names the species of an iris by its measures in cm."""
    measures = [(one.sepal_length, one.sepal_width, one.petal_length, one.petal_width) for one in flower]
    return [str(IRIS.target_names[number]) for number in MODEL.predict(measures)]
