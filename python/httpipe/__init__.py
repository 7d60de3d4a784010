"""Serves Python functions over HTTP: `httpipe run calculate.py:fib`.

A program needs nothing of this module. It has what some programs want: errors with a status, batches,
progress, and `serve` for scripts.
"""

from ._worker import Error, batch, progress, pure, route, serve

__all__ = ["Error", "batch", "progress", "pure", "route", "serve"]
