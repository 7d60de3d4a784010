"""mosec: a Rust server before Python workers, as httpipe is. It only knows POST with a body."""

from functions import WORK
from mosec import Server, Worker


class Echo(Worker):
    def forward(self, data):
        return {"result": WORK["/echo"](str(data["num"]))}


class Fib(Worker):
    def forward(self, data):
        return {"result": WORK["/fib"](str(data["num"]))}


if __name__ == "__main__":
    import sys

    server = Server()
    work = sys.argv.pop(1)
    server.append_worker({"echo": Echo, "fib": Fib}[work], num=2)
    server.run()
