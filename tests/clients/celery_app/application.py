"""An unremarkable Celery application. `BROKER_URL` and `RESULT_BACKEND` in the environment say what it runs on."""

import os
import signal
import time
from pathlib import Path

from celery import Celery, Task

app = Celery("application", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_BACKEND"])
app.conf.update(
    broker_connection_retry_on_startup=True,
    task_default_queue="application",
    result_expires=600,
    task_queue_max_priority=10,
    task_track_started=True,
    worker_prefetch_multiplier=1,
    worker_send_task_events=True,
)


@app.task
def add(first: int, second: int) -> int:
    """The sum."""
    return first + second


@app.task
def total(numbers: list[int]) -> int:
    """What a chord ends with."""
    return sum(numbers)


@app.task
def now() -> float:
    """When it ran."""
    return time.time()


@app.task(bind=True, max_retries=5)
def third_time(self: Task) -> int:
    """Succeeds at its third attempt, and says so."""
    if self.request.retries < 2:
        raise self.retry(countdown=0.1)
    return self.request.retries


@app.task(autoretry_for=(ZeroDivisionError,), max_retries=2, retry_backoff=False, default_retry_delay=0)
def never() -> None:
    """Fails at every attempt."""
    _ = 1 / 0


@app.task
def note(path: str, word: str) -> None:
    """Adds a line to a file."""
    with Path(path).open("a", encoding="utf-8") as file:
        file.write(word + "\n")


@app.task
def wait_for(path: str) -> str:
    """Ends when the file is there."""
    while not Path(path).exists():
        time.sleep(0.01)
    return "seen"


@app.task(bind=True, acks_late=True, reject_on_worker_lost=True)
def dies_once(self: Task, path: str) -> bool:
    """Kills its worker process when the file is not there yet; the answer is whether it was redelivered."""
    if Path(path).exists():
        return bool(self.request.delivery_info["redelivered"])
    Path(path).touch()
    os.kill(os.getpid(), signal.SIGKILL)
    return False


@app.task(acks_late=True)
def held(started: str, release: str) -> str:
    """Says that it has started, and ends when the second file is there."""
    with Path(started).open("a", encoding="utf-8") as file:
        file.write("started\n")
    while not Path(release).exists():
        time.sleep(0.01)
    return "done"
