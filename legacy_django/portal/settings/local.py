# SPDX-License-Identifier: Apache-2.0
"""One developer's machine: works with no environment variable set."""

import os

from . import env
from .base import *  # noqa: F403

DEBUG = env.flag("DEBUG")  # off by default, so that the portal's own 404 and 500 pages are seen
SECRET_KEY = os.environ.get("SECRET_KEY", "only-for-a-developers-machine-never-in-production")
