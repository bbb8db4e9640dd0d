# SPDX-License-Identifier: Apache-2.0
"""How gunicorn serves the portal: `gunicorn -c legacy_django/gunicorn.conf.py`, from anywhere.

gunicorn finds this file by itself only in the folder that it is started from; `--chdir` comes too
late for that.
"""

import os
from pathlib import Path

chdir = str(Path(__file__).resolve().parent)
wsgi_app = "portal.wsgi"

bind = f"{os.environ.get('LEGACY_HOST', '127.0.0.1')}:{os.environ.get('LEGACY_PORT', '8100')}"
worker_class = "gthread"
workers = int(os.environ.get("LEGACY_WORKERS", "2"))
threads = int(os.environ.get("LEGACY_THREADS", "8"))
preload_app = True

# A proxy's pooled connections stay open between requests; an idle one costs no thread. The
# proxy should close first, so its own idle time is to be shorter than this.
keepalive = 75  # seconds
worker_connections = 1000

timeout = 60  # seconds without a sign of life from a worker; a slow upload is not one
graceful_timeout = 30

# gunicorn would believe X-Forwarded-Proto from the loopback by itself. Whether the field counts is
# Django's to say (TRUST_X_FORWARDED_PROTO).
secure_scheme_headers = {}
forwarded_allow_ips = ""
forwarder_headers = ""

accesslog = "-" if os.environ.get("LEGACY_ACCESS_LOG") else None
errorlog = "-"
# gunicorn warns of every HEAD, whose body Django leaves to the server to drop; hence not "warning".
loglevel = os.environ.get("LEGACY_LOG_LEVEL", "error")
