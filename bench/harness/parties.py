"""The servers to measure ("parties"): how each is started and asked, and what it must answer.

All peers serve `bench/peers/functions.py` with two worker processes (or threads, where that is
how they work), with their access logs off; httpipe runs as a user would have it, metrics and
access log on.
"""

from dataclasses import dataclass, field
from typing import Callable

from harness import places
from harness.install import environment
from harness.places import DEBIAN, PEERS, PROBES, PYTHON, VENV, WORKERS
from harness.processes import Tree

WORKS = {"echo": 7, "fib": 10}
FIXED = "55"


@dataclass
class Party:
    """One server to measure."""

    name: str
    # (work, port, directory) -> the commands that make it, the server last.
    commands: Callable
    # What it must answer instead of the right result, because it does no work.
    fixed: str | None = None
    method: str = "GET"
    # It is known to give wrong answers: they are counted. Otherwise one ends the run.
    is_wrong: bool = False
    env: dict = field(default_factory=dict)
    # It does no work and shows what is possible at most.
    is_limit: bool = False
    # Header fields of each request.
    headers: dict = field(default_factory=dict)
    # It speaks HTTPS, with a certificate that nobody has signed.
    secure: bool = False

    def start(self, work, port, directory, core=None):
        directory.mkdir(parents=True, exist_ok=True)
        commands = self.commands(work, port, directory)
        return Tree(commands, directory, environment() | self.env, core)

    def request(self, work, num):
        """Method, path and body of one request."""
        if self.method == "POST":
            return "POST", "/inference", '{"num": %d}' % num
        return "GET", f"/{work}?num={num}", None

    def expected(self, work, num):
        if self.fixed is not None:
            return self.fixed
        return str(num) if work == "echo" else str(fib(num))


def fib(n):
    a, b = 0, 1
    for _ in range(n):
        a, b = b, a + b
    return a


# httpipe.

def httpipe(
    in_flight='"auto"',
    workers="2",
    threads=1,
    json=False,
    cache=None,
    text=None,
    access=True,
    reply="{input}|{result}",
):
    """httpipe over two plain Python workers; `json`: over workers that speak JSON both ways;
    `text`: with a fixed answer and no worker asked; `reply`: the pattern of answers."""

    def commands(work, port, directory):
        script = WORKERS / (f"json_{work}.py" if json else f"{work}.py")
        answer = 'matching = "json-id"\nreply = "json"' if json else f'reply = "{reply}"'
        route = f"text = '{text}'" if text else 'pool = "work"'
        if json:
            route += '\nsend = "json"'
        if cache:
            route += f'\ncache = "{cache}"'
        config = directory / "httpipe.toml"
        config.write_text(f"""\
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:0"
threads = {threads}
log = {{ access = {str(access).lower()} }}

[pool.work]
command = ["python3", "{script}"]
workers = "{workers}"
in_flight = {in_flight}
{answer}
env = {{ PYTHONUNBUFFERED = "" }}
timeout = "5m"

[[route]]
match = "GET /{work}?num={{num:int}}"
{route}
""")
        return [[places.HTTPIPE, "run", config]]

    return commands


def functions(work, port, directory):
    """httpipe over functions of Python, whose loop is httpipe's own."""
    config = directory / "httpipe.toml"
    config.write_text(f"""\
listen = "127.0.0.1:{port}"
admin = "127.0.0.1:0"

[pool.work]
python = "{WORKERS / 'functions.py'}:{work}"
interpreter = "{PYTHON}"
workers = 2
timeout = "5m"
""")
    return [[places.HTTPIPE, "run", config]]


# Python servers.

def uvicorn(module):
    def commands(_, port, __):
        options = "--workers 2 --loop uvloop --http httptools --lifespan off --no-access-log"
        where = ["--host", "127.0.0.1", "--port", port, "--log-level", "warning"]
        return [[PYTHON, "-m", "uvicorn", f"{module}:app", *options.split(), *where]]

    return commands


def granian(interface, module):
    def commands(_, port, __):
        options = f"--interface {interface} --workers 2 --host 127.0.0.1 --port {port}"
        return [[VENV / "bin/granian", *options.split(), "--no-access-log", f"{module}:app"]]

    return commands


def gunicorn(*options):
    def commands(_, port, __):
        where = ["--bind", f"127.0.0.1:{port}", "--log-level", "warning", "--no-control-socket"]
        return [[PYTHON, "-m", "gunicorn", "--workers", 2, *options, *where, "flask_app:app"]]

    return commands


def mosec(work, port, _):
    return [[PYTHON, PEERS / "mosec_app.py", work, "--port", port, "--timeout", "60000"]]


# nginx.

NGINX = """\
worker_processes 1;
daemon off;
pid {directory}/nginx.pid;
error_log stderr warn;
events {{ worker_connections 4096; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {directory};
    proxy_temp_path {directory};
    fastcgi_temp_path {directory};
    uwsgi_temp_path {directory};
    scgi_temp_path {directory};
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{ {location} }}
    }}
}}
"""

UWSGI_PARAMETERS = {
    "QUERY_STRING": "$query_string",
    "REQUEST_METHOD": "$request_method",
    "CONTENT_TYPE": "$content_type",
    "CONTENT_LENGTH": "$content_length",
    "REQUEST_URI": "$request_uri",
    "PATH_INFO": "$document_uri",
    "SERVER_PROTOCOL": "$server_protocol",
    "SERVER_PORT": "$server_port",
    "SERVER_NAME": "$server_name",
    "REMOTE_ADDR": "$remote_addr",
}


def nginx(port, directory, location):
    # Under root its worker runs as another user.
    directory.chmod(0o755)
    config = directory / "nginx.conf"
    config.write_text(NGINX.format(port=port, directory=directory, location=location))
    return [DEBIAN / "usr/sbin/nginx", "-p", directory, "-e", "stderr", "-c", config]


def nginx_return(_, port, directory):
    body = '{"result":"%s"}' % FIXED
    return [nginx(port, directory, f"default_type application/json; return 200 '{body}';")]


def nginx_uwsgi(_, port, directory):
    socket = directory / "uwsgi.sock"
    uwsgi = [
        DEBIAN / "usr/bin/uwsgi-core",
        *("--plugins-dir", DEBIAN / "usr/lib/uwsgi/plugins", "--plugin", "python311"),
        *("--socket", socket, "--chmod-socket=666", "--listen", "100"),
        *("--master", "--processes", "2", "--die-on-term", "--disable-logging"),
        *("--need-app", "--chdir", PEERS, "--module", "wsgi"),
    ]
    parameters = [f"uwsgi_param {name} {value};" for name, value in UWSGI_PARAMETERS.items()]
    location = " ".join([*parameters, f"uwsgi_pass unix:{socket};"])
    return [uwsgi, nginx(port, directory, location)]


# Code of this repository.

def node_threads(work, port, _):
    return [["node", PEERS / "node_threads/index.mjs", port, 2, WORKERS / f"{work}.py"]]


def seed(work, port, _):
    return [["node", PEERS / "seed/index.mjs", port, WORKERS / f"{work}.py"]]


def hyper_fixed(_, port, __):
    return [[PROBES / "hyper-fixed", port]]


def hyper_pipe(work, port, __):
    return [[PROBES / "hyper-pipe", port, PYTHON, WORKERS / f"{work}.py"]]


PARTIES = {
    "httpipe": Party("httpipe", httpipe()),
    "httpipe-1": Party("httpipe, one in flight", httpipe(in_flight="1")),
    "httpipe-json": Party("httpipe, JSON both ways", httpipe(json=True)),
    "uvicorn": Party("uvicorn, bare ASGI", uvicorn("asgi")),
    "fastapi": Party("uvicorn + FastAPI", uvicorn("fastapi_app")),
    "granian-rsgi": Party("granian, RSGI", granian("rsgi", "rsgi")),
    "granian-asgi": Party("granian, ASGI", granian("asgi", "asgi")),
    "granian-wsgi": Party("granian, WSGI", granian("wsgi", "wsgi")),
    "flask": Party("Flask + gunicorn", gunicorn()),
    "flask-threads": Party(
        "Flask + gunicorn, threads", gunicorn("--worker-class", "gthread", "--threads", 8)
    ),
    "mosec": Party("mosec", mosec, method="POST"),
    "nginx-uwsgi": Party("nginx + uwsgi", nginx_uwsgi),
    "node": Party("Node worker threads, a Python each", node_threads),
    "seed": Party("the seed as written", seed, is_wrong=True),
    "nginx-return": Party("nginx `return`, no work", nginx_return, fixed=FIXED, is_limit=True),
    "hyper-fixed": Party("hyper, no work", hyper_fixed, fixed=FIXED, is_limit=True),
}

# For a server that lives from glibc's allocator: it keeps what was freed, as httpipe does
# (`src/server/heap.rs`), or each large body would cost page faults.
KEEPS_FREED = {
    "MALLOC_TRIM_THRESHOLD_": str(16 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(32 << 20),
}

# Variants of httpipe that only one scenario has.
LEAST = Party("hyper and a pipe, nothing checked", hyper_pipe)
FUNCTION = Party("httpipe, a function", functions)
# An answer without `{input}` proves nothing: the workers take turns.
TAKING_TURNS = {
    "with": Party("httpipe, turns", httpipe(in_flight=1, reply="{question}|{result}")),
    "without": Party("httpipe, no turns", httpipe(in_flight=1)),
}
ELASTIC = Party("httpipe, 2..8 workers", httpipe(workers="2..8"))
WIDE = Party("httpipe, 2..64 workers", httpipe(workers="2..64"))
CACHED = {
    "a fixed hyper answer": PARTIES["hyper-fixed"],
    "cache hit, access log on": Party("httpipe, cache hit", httpipe(cache="1h")),
    "cache hit, access log off": Party(
        "httpipe, cache hit, no access log", httpipe(cache="1h", access=False)
    ),
    "fixed answer (`text`), access log on": Party(
        "httpipe, fixed answer", httpipe(text='{"result":"%s"}' % FIXED), fixed=FIXED
    ),
}
THREADED = {
    (threads, is_kept): Party(
        f"httpipe, {threads} threads", httpipe(threads=threads, cache="1h" if is_kept else None)
    )
    for threads in [1, 2]
    for is_kept in [False, True]
}
