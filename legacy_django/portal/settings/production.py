# SPDX-License-Identifier: Apache-2.0
"""A public server over TLS: secrets must come from the environment."""

from . import env
from .base import *  # noqa: F403

SECRET_KEY = env.required("SECRET_KEY")
SESSION_COOKIE_SECURE = True
CSRF_COOKIE_SECURE = True
SECURE_HSTS_SECONDS = 3600
