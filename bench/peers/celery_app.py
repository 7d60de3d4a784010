"""The same work as a task of Celery, with Redis as broker and as the place of results."""

import os
import time

from celery import Celery

URL = f"redis://127.0.0.1:{os.environ['REDIS_PORT']}/0"
app = Celery("work", broker=URL, backend=URL)
app.conf.update(worker_prefetch_multiplier=1, task_acks_late=True, broker_connection_retry_on_startup=True)


@app.task(name="work")
def work(pause, num):
    if pause:
        time.sleep(pause / 1000)
    return str(num)
