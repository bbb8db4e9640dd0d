# SPDX-License-Identifier: Apache-2.0
"""A detailed health check that any Python service can mount, in the format that the edge reads.

```python
health = Health()

@health.check("redis connection", timeout=0.5)
async def redis() -> str:
    await client.ping()
    return "ok"
```

The document is `{"status": "success" | "failure", "results": [{"checker", "output", "passed",
"time", "duration", "since"}]}`; a failure is answered with 503. Every check has a time limit of
its own and an answer that is good for a while, so that neither a part that hangs nor a monitor
that asks too often can hurt the service. Checks may be coroutines or plain functions; plain ones
run in a thread.

Mounts: `strangler.health.tornado`, `.django`, `.flask`, `.aiohttp`; each imports its framework,
this package imports none, and nothing else of the edge.
"""

from strangler.health.checks import Ask, Failed, Health
from strangler.health.result import Result, document

__all__ = ["Ask", "Failed", "Health", "Result", "document"]
