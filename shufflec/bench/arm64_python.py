"""An arm64 CPython with wheels of other engines, put together without root and without touching the system.

Debian's own arm64 packages are downloaded through a private apt state (this machine's package sources, an empty
status file) and unpacked; wheels are downloaded by pip for the arm64 platform and unpacked. Everything lies in the
cache and is made once.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path

from shufflec.errors import ToolMissingError
from shufflec.files import atomic_directory, cache_dir

Say = Callable[[str], None]

PYTHON = "python3.11"
PACKAGE_ROOT = Path(__file__).resolve().parents[2]  # where `import shufflec` finds this package
_DEBIAN_PACKAGES = (
    f"{PYTHON}-minimal",
    f"lib{PYTHON}-minimal",
    f"lib{PYTHON}-stdlib",
    "libstdc++6",
    "libgcc-s1",
    "libc6",
    "zlib1g",
    "libgomp1",
    "libexpat1",
    "libffi8",
    "libbz2-1.0",
    "liblzma5",
)
# Oldest glibc first; pip takes a wheel that names any of them. Debian 12 has glibc 2.36.
_PLATFORMS = ("manylinux2014", *(f"manylinux_2_{minor}" for minor in (17, 24, 26, 27, 28, 31, 34, 35)))
_DOWNLOAD_TIMEOUT_S = 900


def arm64_root(say: Say) -> Path:
    """A folder with an arm64 usr/bin/python3.11 and the libraries that it and the wheels need.

    Raises ToolMissingError when apt-get or dpkg-deb are missing or the packages cannot be downloaded.
    """
    root = cache_dir("bench") / f"root-arm64-{_key(_DEBIAN_PACKAGES)}"
    if root.is_dir():
        return root
    purpose = "run other engines under emulation"
    for tool in ("apt-get", "dpkg-deb"):
        if shutil.which(tool) is None:
            raise ToolMissingError(tool, purpose, "a Debian or Ubuntu system has it")
    say(f"downloading {PYTHON} and its libraries for arm64 (10 MB, once)")
    with atomic_directory(root) as work:
        state = work / "apt"
        for part in ("state/lists/partial", "cache/archives/partial", "packages"):
            (state / part).mkdir(parents=True)
        (state / "status").touch()
        settings = {
            "APT::Architecture": "arm64",
            "APT::Architectures": "arm64",
            "APT::Sandbox::User": "root",  # as a normal user apt could not write here under another name
            "Dir::State": state / "state",
            "Dir::State::status": state / "status",
            "Dir::Cache": state / "cache",
            "Dir::Log": state / "cache",
            "Dir::Etc::parts": "/dev/null",  # no hooks of this machine
        }
        apt = ["apt-get", "--quiet"] + [word for name, value in settings.items() for word in ("-o", f"{name}={value}")]
        _run([*apt, "update"], state, purpose)
        _run([*apt, "download", *_DEBIAN_PACKAGES], state / "packages", purpose)
        for package in sorted((state / "packages").glob("*.deb")):
            _run(["dpkg-deb", "--extract", str(package), str(work)], state, purpose)
        shutil.rmtree(state)
        if not (work / "usr" / "bin" / PYTHON).is_file():
            hint = f"this machine's package sources have no {PYTHON}; those of Debian 12 have"
            raise ToolMissingError(f"{PYTHON} for arm64", purpose, hint)
    return root


def arm64_packages(requirements: Sequence[str], say: Say) -> Path:
    """A folder for PYTHONPATH with the arm64 wheels of the pinned `requirements` (name==version) unpacked.

    Dependencies are not followed: name them. Raises ToolMissingError when a wheel cannot be downloaded.
    """
    folder = cache_dir("bench") / f"packages-arm64-{_key(sorted(requirements))}"
    if folder.is_dir():
        return folder
    say(f"downloading arm64 wheels: {', '.join(requirements)} (once)")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--only-binary=:all:"]
    command += ["--python-version", "3.11", "--implementation", "cp"]
    command += [word for abi in ("cp311", "abi3", "none") for word in ("--abi", abi)]
    command += [word for platform in _PLATFORMS for word in ("--platform", f"{platform}_aarch64")]
    with atomic_directory(folder) as work:
        wheels = work / "wheels"
        wheels.mkdir()
        _run([*command, "--dest", str(wheels), *requirements], work, f"compare with {', '.join(requirements)}")
        for wheel in sorted(wheels.glob("*.whl")):
            with zipfile.ZipFile(wheel) as archive:
                archive.extractall(work)
        shutil.rmtree(wheels)
    return folder


def host_packages(requirements: Sequence[str], say: Say) -> Path:
    """A folder for PYTHONPATH with pinned packages for this machine's Python, apart from shufflec's own.

    Dependencies are not followed: name them. Raises ToolMissingError when one cannot be downloaded.
    """
    folder = cache_dir("bench") / f"packages-host-{_key(sorted(requirements))}"
    if folder.is_dir():
        return folder
    say(f"downloading packages: {', '.join(requirements)} (once)")
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps"]
    with atomic_directory(folder) as work:
        _run([*command, "--target", str(work), *requirements], work, f"compare with {requirements[0]}")
    return folder


def _run(command: list[str], folder: Path, purpose: str) -> None:
    """Runs a download or unpacking step; its last lines become the error."""
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    what = f"what {Path(command[0]).name} downloads"
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_DOWNLOAD_TIMEOUT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        hint = f"no answer in {_DOWNLOAD_TIMEOUT_S} s; check the network"
        raise ToolMissingError(what, purpose, hint) from error
    if done.returncode:
        lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
        hint = f"check the network; it said: {' / '.join(lines[-2:])[:300]}"
        raise ToolMissingError(what, purpose, hint)


def _key(parts: Sequence[str]) -> str:
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:12]
