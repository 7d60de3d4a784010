"""A worker that evaluates each question, as an attacker would like it to."""
import ctypes
import errno
import multiprocessing
import os
import socket
import subprocess
import sys
import tempfile

SERVER = os.getppid()
TMP = os.environ.get("TMPDIR", "")


def fork_bomb():
    """Forks until it fails. Returns how often it did not."""
    children = []
    try:
        while len(children) < 2000:
            child = os.fork()
            if child == 0:
                while True:
                    os.read(os.pipe()[0], 1)
            children.append(child)
    except OSError as error:
        assert error.errno == errno.EAGAIN
    for child in children:
        os.kill(child, 9)
        os.waitpid(child, 0)
    return len(children)


def call(number, *arguments):
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall(number, *arguments) < 0:
        raise OSError(ctypes.get_errno(), "refused")


for line in sys.stdin:
    try:
        answer = eval(line)
    except OSError as error:
        answer = errno.errorcode[error.errno]
    except BaseException as error:
        answer = type(error).__name__
    print(str(answer).replace("\n", " ").strip(), flush=True)
