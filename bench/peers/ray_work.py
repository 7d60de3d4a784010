"""The same work as a task of Ray, for callers in threads of one driver."""

import threading
import time

import ray

lock = threading.Lock()


@ray.remote
def work(pause, num):
    if pause:
        time.sleep(pause / 1000)
    return str(num)


def connect(port):
    with lock:
        if not ray.is_initialized():
            ray.init(address=f"127.0.0.1:{port}", log_to_driver=False, logging_level="ERROR")
            # Its processes start with the first tasks.
            ray.get([work.remote(50, num) for num in range(16)], timeout=60)


def ask(pause, num):
    found = ray.get(work.remote(pause, num), timeout=30)
    if found != str(num):
        raise RuntimeError(f"{num}: {found}")
