"""Where things are. Everything that is made lies in one directory that git does not see."""

from pathlib import Path

BENCH = Path(__file__).resolve().parent.parent
PROJECT = BENCH.parent
WORK = BENCH / ".work"
VENV = WORK / "venv"
DEBIAN = WORK / "debian"
RUNS = WORK / "runs"
RESULTS = WORK / "results"
PEERS = BENCH / "peers"
WORKERS = BENCH / "workers"
DOCUMENT = PROJECT / "docs" / "benchmarks.md"
PICTURES = PROJECT / "docs" / "benchmarks"

PYTHON = VENV / "bin" / "python"
PROBES = BENCH / "probes" / "target" / "release"
HTTPIPE = PROJECT / "target" / "release" / "httpipe"
