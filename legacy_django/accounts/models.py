# SPDX-License-Identifier: Apache-2.0
"""The site's user: readers, editors and administrators alike."""

from django.contrib.auth.models import AbstractUser
from django.db import models


class User(AbstractUser):
    """Add to Django's user what a reader tells about themselves."""

    city = models.CharField("cidade", max_length=80, blank=True)
    about = models.CharField("sobre mim", max_length=280, blank=True)

    class Meta(AbstractUser.Meta):
        verbose_name = "usuário"
        verbose_name_plural = "usuários"

    @property
    def display_name(self) -> str:
        """Return the full name, or the login name where there is none."""
        return self.get_full_name() or self.username
