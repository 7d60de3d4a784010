"""Installs what is measured: httpipe and the probes with cargo, peers from PyPI and Debian.

Debian packages are only unpacked below the work directory, so nothing on the machine changes and
no service starts; wrk, node and valgrind are taken from the machine where they are there.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys

from harness.places import BENCH, DEBIAN, PROJECT, PYTHON, VENV, WORK

PYPI = ["scikit-learn", "uvicorn", "uvloop", "httptools", "fastapi", "granian", "mosec", "flask", "gunicorn"]
DEBIAN_PACKAGES = ["nginx", "uwsgi-core", "uwsgi-plugin-python3"]
# Their dependencies that a minimal Debian lacks; unpacked beside them.
DEBIAN_LIBRARIES = ["libnorm1", "libpcre3", "libpgm-5.3-0", "libyajl2", "libzmq5", "libjansson4"]
LIBRARY_PATHS = ["usr/lib/x86_64-linux-gnu", "lib/x86_64-linux-gnu"]


def install(build, peers=True):
    """Installs everything that is missing, and the probes. `build`: also compile httpipe. Without
    `peers`, only what asks httpipe."""
    WORK.mkdir(exist_ok=True)
    if build:
        say("cargo build --release: httpipe")
        run(["cargo", "build", "--release", "--locked"], cwd=PROJECT)
        if peers:
            run(["cargo", "bench", "--no-run", "--locked"], cwd=PROJECT)
    if not peers:
        return wrk()
    say("cargo build --release: the probes")
    run(["cargo", "build", "--release", "--locked"], cwd=BENCH / "probes")
    virtual_environment()
    debian_packages()
    wrk()
    if not shutil.which("node"):
        sys.exit("node is not there: install Debian's `nodejs`, or leave its two peers out with --only")


def virtual_environment():
    """Peers from PyPI, on Debian's own Python: the one that uwsgi is built for."""
    stamp = VENV / "installed"
    wanted = "\n".join(PYPI)
    if stamp.exists() and stamp.read_text() == wanted:
        return
    say("PyPI: " + " ".join(PYPI))
    shutil.rmtree(VENV, ignore_errors=True)
    made = subprocess.run(["/usr/bin/python3", "-m", "venv", VENV], capture_output=True)
    if made.returncode != 0:
        shutil.rmtree(VENV, ignore_errors=True)
        run([sys.executable, "-m", "venv", VENV])
    run([PYTHON, "-m", "pip", "install", "--quiet", *PYPI])
    stamp.write_text(wanted)


def debian_packages():
    """nginx and uwsgi, unpacked and not installed."""
    if (DEBIAN / "usr/sbin/nginx").exists() and (DEBIAN / "usr/bin/uwsgi-core").exists():
        return
    say("Debian: " + " ".join(DEBIAN_PACKAGES))
    unpack(DEBIAN_PACKAGES + DEBIAN_LIBRARIES)


def wrk():
    """The load generator: the machine's own, else Debian's."""
    if shutil.which("wrk") or (DEBIAN / "usr/bin/wrk").exists():
        return
    say("Debian: wrk")
    unpack(["wrk", "libluajit-5.1-2"])


def gnu_parallel():
    """Returns true if GNU parallel is there: the machine's own, else Debian's. Moreutils has another one."""
    if not is_gnu_parallel() and not (DEBIAN / "usr/bin/parallel").exists():
        say("Debian: parallel")
        with contextlib.suppress(SystemExit):
            unpack(["parallel"])
    return is_gnu_parallel()


def is_gnu_parallel():
    env = os.environ | environment()
    found = shutil.which("parallel", path=env["PATH"])
    return bool(found) and "GNU parallel" in output([found, "--version"])


def unpack(packages):
    archives = WORK / "archives"
    archives.mkdir(exist_ok=True)
    # The sandbox user may not write here.
    sandbox = ["-o", "APT::Sandbox::User=root"]
    run(["apt-get", "download", "-qq", *sandbox, *packages], cwd=archives)
    for archive in archives.glob("*.deb"):
        run(["dpkg-deb", "--extract", archive, DEBIAN])


def environment():
    """The environment of every party and of wrk: the same Python comes first in the path, and
    nothing is inherited that would change their behaviour."""
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "TERM") if name in os.environ}
    path = [VENV / "bin", DEBIAN / "usr/bin", DEBIAN / "usr/sbin", os.environ["PATH"]]
    libraries = [str(DEBIAN / place) for place in LIBRARY_PATHS]
    return kept | {
        "PATH": ":".join(map(str, path)),
        "LD_LIBRARY_PATH": ":".join(libraries),
        "PYTHONPATH": str(BENCH / "peers"),
        "PYTHONDONTWRITEBYTECODE": "1",
    }


def versions():
    """The versions of everything that was measured, by name."""
    found = {}
    listed = output([PYTHON, "-m", "pip", "list", "--format=freeze"])
    for line in listed.splitlines():
        name, _, version = line.partition("==")
        if name.lower() in PYPI:
            found[name.lower()] = version
    commands = {
        "python": [PYTHON, "--version"],
        "node": ["node", "--version"],
        "nginx": [DEBIAN / "usr/sbin/nginx", "-v"],
        "uwsgi": [DEBIAN / "usr/bin/uwsgi-core", "--version"],
        "wrk": ["wrk", "-v"],
        "rustc": ["rustc", "--version"],
        "httpipe commit": ["git", "-C", PROJECT, "describe", "--always", "--dirty"],
    }
    for name, command in commands.items():
        number = re.search(r"\d+(\.\d+)+|^[0-9a-f]{7,}\S*", output(command))
        found[name] = number[0] if number else "?"
    return found


def output(command):
    env = os.environ | environment()
    done = subprocess.run(command, env=env, capture_output=True, text=True)
    return done.stdout + done.stderr


def run(command, cwd=None):
    done = subprocess.run(list(map(str, command)), cwd=cwd)
    if done.returncode != 0:
        sys.exit(f"failed: {' '.join(map(str, command))}")


def say(text):
    print(f"== {text}", file=sys.stderr, flush=True)
