# SPDX-License-Identifier: Apache-2.0
"""Where readers connect: listening sockets, the HTTP/1.1 engine, and the processes that run it.

`server.Server` listens, `http1.Connection` speaks HTTP/1.1 on one connection and hands each request
to an application, on bytes; `tornado_app` mounts a Tornado application there instead. The
supervisor owns the sockets and replaces workers that die; a worker loads the snapshots that the
control process announces, and drains when it is told to. Nothing here knows routes or upstreams.
"""
