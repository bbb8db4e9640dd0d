# SPDX-License-Identifier: Apache-2.0
"""The app's configuration."""

from django.apps import AppConfig


class SearchConfig(AppConfig):
    name = "search"
    verbose_name = "busca"
