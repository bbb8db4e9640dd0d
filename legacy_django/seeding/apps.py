# SPDX-License-Identifier: Apache-2.0
"""The app's configuration."""

from django.apps import AppConfig


class SeedingConfig(AppConfig):
    name = "seeding"
    verbose_name = "conteúdo inventado"
