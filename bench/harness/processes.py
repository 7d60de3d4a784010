"""Starting, measuring and stopping the processes of one party.

CPU time comes from the processes' own clocks: nanoseconds over all threads, ended ones included.
Memory is PSS, which counts a page shared by n processes as an n-th in each.
"""

import os
import signal
import subprocess
import time
from pathlib import Path


class Tree:
    """Processes that were started together, and their descendants."""

    def __init__(self, commands, directory, env, core=None):
        """Starts `commands`, each with its output in a file; `core` pins them all."""
        pin = ["taskset", "-c", str(core)] if core is not None else []
        self.directory = Path(directory)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.roots = []
        for index, command in enumerate(commands):
            with open(self.directory / f"output-{index}.txt", "wb") as log:
                self.roots.append(
                    subprocess.Popen(
                        pin + list(map(str, command)),
                        cwd=self.directory,
                        env=env,
                        stdin=subprocess.DEVNULL,
                        stdout=log,
                        stderr=log,
                        start_new_session=True,
                    )
                )

    @property
    def server(self):
        """The process that was started last, which is the server."""
        return self.roots[-1].pid

    def pids(self):
        """Every process of the tree that is alive."""
        children = {}
        for entry in os.listdir("/proc"):
            if entry.isdigit():
                children.setdefault(parent_of(entry), []).append(int(entry))
        found, open_ = [], [root.pid for root in self.roots if root.poll() is None]
        while open_:
            pid = open_.pop()
            found.append(pid)
            open_.extend(children.get(pid, []))
        return found

    def cpu(self):
        """CPU seconds so far, by process."""
        return {pid: seconds for pid in self.pids() if (seconds := cpu_seconds(pid)) is not None}

    def pss_mb(self):
        return sum(memory_mb(pid, "Pss") for pid in self.pids())

    def server_rss_mb(self):
        """Resident memory of the server process itself."""
        return memory_mb(self.server, "Rss")

    def wait_until_quiet(self, patience=60):
        """Waits until the tree uses no CPU, which means that all workers have started."""
        until, before = time.monotonic() + patience, self.cpu()
        while time.monotonic() < until:
            time.sleep(0.3)
            now = self.cpu()
            if spent(before, now) < 0.02:
                return
            before = now

    def check_alive(self):
        for root in self.roots:
            if root.poll() is not None:
                raise RuntimeError(f"it ended with {root.returncode}: {self.last_words()}")

    def last_words(self):
        texts = [path.read_text(errors="replace") for path in self.directory.glob("output-*.txt")]
        return "\n".join(text[-1500:] for text in texts)

    def stop(self):
        """Asks all processes to end, and later kills those that are left."""
        everything = self.pids()
        for root in reversed(self.roots):
            send(root.pid, signal.SIGTERM)
        for root in reversed(self.roots):
            try:
                root.wait(timeout=5)
            except subprocess.TimeoutExpired:
                pass
        for pid in everything:
            # A process with this number may be another one by now; then its session is not ours.
            if session_of(pid) in {root.pid for root in self.roots} or parent_of(pid) in everything:
                send(pid, signal.SIGKILL)
        for root in self.roots:
            root.kill()
            root.wait()


def spent(before, after):
    """CPU seconds between two samples of a tree, including processes that started meanwhile."""
    return sum(seconds - before.get(pid, 0.0) for pid, seconds in after.items())


def cpu_seconds(pid):
    # The clock id of another process's CPU time, as clock_getcpuclockid(3) makes it.
    try:
        return time.clock_gettime((~pid << 3) | 2)
    except OSError:
        return None


def memory_mb(pid, kind):
    try:
        with open(f"/proc/{pid}/smaps_rollup") as lines:
            for line in lines:
                if line.startswith(f"{kind}:"):
                    return int(line.split()[1]) / 1024
    except OSError:
        pass
    return 0.0


def stat_of(pid):
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except OSError:
        return None


def parent_of(pid):
    fields = stat_of(pid)
    return int(fields[1]) if fields else None


def session_of(pid):
    fields = stat_of(pid)
    return int(fields[3]) if fields else None


def send(pid, number):
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass
