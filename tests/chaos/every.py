# SPDX-License-Identifier: Apache-2.0
"""Every fault: importing this fills the list."""

from __future__ import annotations

from chaos import clients, machine, names, processes, services, stores, writes
from chaos.fault import FAULTS

MODULES = (services, writes, processes, clients, names, machine, stores)

__all__ = ["FAULTS", "MODULES"]
