"""The paths of everything. All generated files are in one directory that git ignores."""

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
MAP_PAGE = PROJECT / "docs" / "map.md"
PICTURES = PROJECT / "docs" / "benchmarks"

PYTHON = VENV / "bin" / "python"
PROBES = BENCH / "probes" / "target" / "release"
HTTPIPE = PROJECT / "target" / "release" / "httpipe"
