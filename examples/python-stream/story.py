import time
from typing import Iterator


def story(words: int, pause: float = 0.05) -> Iterator[str]:
    """Tells a story one word at a time, as a language model does."""
    for number in range(words):
        yield ("once", "upon", "a", "time")[number % 4]
        time.sleep(pause)
