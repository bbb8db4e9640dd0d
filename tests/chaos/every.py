# SPDX-License-Identifier: Apache-2.0
"""Every fault: importing this fills the list."""

from __future__ import annotations

from chaos import clients, machine, names, processes, services, stores
from chaos.fault import FAULTS

MODULES = (services, processes, clients, names, machine, stores)

__all__ = ["FAULTS", "MODULES"]
