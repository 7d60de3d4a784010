"""Tests of the worker: `python3 -B -m unittest discover -s python`. Each starts it as the server does."""
