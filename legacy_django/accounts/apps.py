# SPDX-License-Identifier: Apache-2.0
"""The app's configuration."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    name = "accounts"
    verbose_name = "contas"
