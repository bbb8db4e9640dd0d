# SPDX-License-Identifier: Apache-2.0
"""Real servers for tests, each on a free loopback port with a folder of its own.

``from servers.redis import Redis`` and ``with Redis() as server: ...``, or take a fixture from
``servers.fixtures``. ``install.py`` puts the binaries in place.
"""
