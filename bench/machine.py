"""What a measurement ran on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import psutil

from bench.broker import ROOT
from portask import __version__

PACKAGES = ("gevent", "cbor2", "zstandard", "crc32c")


def describe(scratch: Path, go_version: str) -> dict[str, str]:
    """Machine and versions, by name; *scratch* is where data directories are made."""
    packages = ", ".join(f"{name} {_version(name)}" for name in PACKAGES)
    memory_gb = psutil.virtual_memory().total / 1e9
    return {
        "portask": f"{__version__}, commit {_commit()}",
        "processor": f"{_processor()}, {os.cpu_count()} cores",
        "memory": f"{memory_gb:.0f} GB",
        "system": f"{platform.system()} {platform.release()}, data on {_file_system(scratch)}",
        "python": f"{platform.python_implementation()} {platform.python_version()}, {packages}",
        "load": f"bench/load, {go_version}, on the same machine over loopback",
    }


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def _commit() -> str:
    try:
        done = subprocess.run(
            ["git", "describe", "--always", "--dirty"], cwd=ROOT, capture_output=True, text=True, check=True
        )
    except (OSError, subprocess.CalledProcessError):
        return "unknown"
    return done.stdout.strip()


def _processor() -> str:
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return found[1].strip() if found else platform.machine()


def _file_system(path: Path) -> str:
    """The type of the file system that holds *path*."""
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    above = [(mount[1], mount[2]) for mount in mounts if path.resolve().is_relative_to(mount[1])]
    return max(above, key=lambda mount: len(mount[0]))[1]
