# SPDX-License-Identifier: Apache-2.0
"""What the control process itself knows and no worker counts, as values for `/-/metrics`."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from typing import Any, Final

from strangler.config.snapshot import Snapshot
from strangler.observe.counters import BREAKERS
from strangler.rollout import Overrides

Values = Sequence[tuple[Mapping[str, str], float]]

_TICKS: Final = os.sysconf("SC_CLK_TCK")
_PAGE: Final = os.sysconf("SC_PAGE_SIZE")


def of_configuration(snapshot: Snapshot, rejected: bool) -> dict[str, Values]:
    """Return what is to be said of the configuration in force."""
    try:
        version = metadata.version("strangler")
    except metadata.PackageNotFoundError:  # run from a checkout that was not installed
        version = "unknown"
    return {
        "strangler_build_info": [({"version": version}, 1)],
        "strangler_config_generation": [({}, snapshot.generation)],
        "strangler_config_info": [({"hash": snapshot.hash[:12]}, 1)],
        "strangler_config_rejected": [({}, int(rejected))],
    }


def of_overrides(snapshot: Snapshot, overrides: Overrides) -> dict[str, Values]:
    """Return which overrides are in force, and the stages that follow from file and override."""
    stages: Counter[str] = Counter()
    for route in snapshot.routes:
        if route.action == "proxy":
            stage = overrides.stage(route.key, route.stage)
            stages[(route.stage if route.cannot_be(stage) else stage).word] += 1
        else:
            stages["none"] += 1
    kinds = Counter(str(one.kind) for one in overrides)
    return {
        "strangler_routes": [({"stage": word}, n) for word, n in sorted(stages.items())],
        "strangler_overrides": [({"kind": kind}, n) for kind, n in sorted(kinds.items())],
    }


def of_workers(
    workers: Mapping[str, Mapping[str, Any]], states: Iterable[str]
) -> dict[str, Values]:
    """Return what workers, by name, told last, and in how many each state is."""
    breakers: Counter[tuple[str, str]] = Counter()
    for status in workers.values():
        edge = status.get("edge", {})
        for name, one in edge.get("breakers", {}).items():
            breakers[name, one["word"]] += 1
        for name, upstream in edge.get("upstreams", {}).items():
            if "breaker" in upstream:
                breakers[name, upstream["breaker"]["word"]] += 1
    names = sorted({name for name, _ in breakers})
    return {
        "strangler_breaker_state": [
            ({"breaker": name, "state": state}, breakers[name, state])
            for name in names
            for state in BREAKERS
        ],
        "strangler_workers": [({"state": s}, n) for s, n in sorted(Counter(states).items())],
        "strangler_worker_lag_seconds": [
            ({"process": name}, status["lag"]) for name, status in workers.items()
        ],
        "strangler_reader_connections": [
            ({"process": name}, status["connections"]) for name, status in workers.items()
        ],
        "strangler_lost_log_lines_total": [
            ({"process": name}, status["dropped_log_lines"]) for name, status in workers.items()
        ],
        "strangler_process_started_timestamp_seconds": [
            ({"process": name}, status["started"]) for name, status in workers.items()
        ],
    }


def of_processes(pids: Mapping[str, int]) -> dict[str, Values]:
    """Return what the kernel says of the processes, by name; nothing where there is no /proc."""
    resident, files, cpu = [], [], []
    for name, pid in pids.items():
        labels = {"process": name}
        with contextlib.suppress(OSError, ValueError, IndexError):
            with open(f"/proc/{pid}/stat", "rb") as file:
                parts = file.read().rpartition(b")")[2].split()
            cpu.append((labels, (int(parts[11]) + int(parts[12])) / _TICKS))
            resident.append((labels, int(parts[21]) * _PAGE))
        with contextlib.suppress(OSError), os.scandir(f"/proc/{pid}/fd") as entries:
            files.append((labels, sum(1 for _ in entries)))
    return {
        "strangler_process_resident_bytes": resident,
        "strangler_process_open_files": files,
        "strangler_process_cpu_seconds_total": cpu,
    }
