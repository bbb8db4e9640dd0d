# SPDX-License-Identifier: Apache-2.0
"""The test run: quick password hashes, files in a folder that is thrown away."""

import atexit
import shutil
import tempfile
from pathlib import Path

from .base import *  # noqa: F403

SECRET_KEY = "only-for-tests"
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
MEDIA_ROOT = Path(tempfile.mkdtemp(prefix="portal-media-"))
atexit.register(shutil.rmtree, MEDIA_ROOT, ignore_errors=True)
PUBLISH_HOOKS = []
EDGE_PURGE_URL = ""
PUBLISH_TOKEN = "publish-token"
API_TOKEN = "api-token"
LOGGING["loggers"]["django.security"] = {"level": "CRITICAL"}  # noqa: F405
LOGGING["loggers"]["edge_purge"]["level"] = "ERROR"  # noqa: F405
