# SPDX-License-Identifier: Apache-2.0
"""The app's configuration."""

from django.apps import AppConfig


class PollsConfig(AppConfig):
    name = "polls"
    verbose_name = "enquetes"
