"""Finds the program `httpipe` and becomes it."""

from __future__ import annotations

import os
import shutil
import sys
import sysconfig
from typing import NoReturn


def binary() -> str:
    """Returns the path of `httpipe`: that of this installation, else the one in PATH."""
    name = "httpipe" + (sysconfig.get_config_var("EXE") or "")
    places = [
        sysconfig.get_path("scripts"),
        sysconfig.get_path("scripts", "posix_user"),
        os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "bin"),  # pip install --target
    ]
    for place in places:
        path = os.path.join(place, name)
        if os.path.isfile(path) and os.access(path, os.X_OK):
            return path
    found = shutil.which(name)
    if found is None:
        raise FileNotFoundError("there is no program `httpipe` in %s, nor in PATH; install it again" % places[0])
    return found


def become(*arguments: str) -> NoReturn:
    """Replaces this process by `httpipe ARGUMENTS`."""
    path = binary()
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os.execv(path, [path, *arguments])


def become_server() -> NoReturn:
    """Replaces a script that was started by hand by `httpipe run SCRIPT`, with its interpreter and its arguments."""
    script = getattr(sys.modules["__main__"], "__file__", None)
    if script is None:
        raise RuntimeError("httpipe.serve is for scripts; call it in a file, or use `httpipe run FILE.py:NAME`")
    become("run", script, "--interpreter", sys.executable, *sys.argv[1:])
