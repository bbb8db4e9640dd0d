# SPDX-License-Identifier: Apache-2.0
"""The app's configuration."""

from django.apps import AppConfig


class HelpConfig(AppConfig):
    name = "help"
    verbose_name = "ajuda"
