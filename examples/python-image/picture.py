import io
from typing import Annotated

import httpipe
import numpy as np
from PIL import Image, UnidentifiedImageError

PNG = Annotated[bytes, "image/png"]


def gradient(width: int, height: int) -> PNG:
    """Draws a picture that gets brighter from left to right."""
    line = np.linspace(0, 255, width).astype(np.uint8)
    return _png(np.tile(line, (height, 1)))


def invert(image: bytes) -> PNG:
    """Makes a negative."""
    return _png(255 - _pixels(image))


def brightness(image: bytes) -> float:
    """Returns the mean of all pixels, from 0 to 255."""
    return _pixels(image).mean()


def _pixels(image: bytes) -> np.ndarray:
    try:
        return np.asarray(Image.open(io.BytesIO(image)).convert("L"))
    except UnidentifiedImageError:
        raise httpipe.Error("this is no picture", 415) from None


def _png(pixels: np.ndarray) -> bytes:
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "png")
    return file.getvalue()
