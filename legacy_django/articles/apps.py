# SPDX-License-Identifier: Apache-2.0
"""The app's configuration."""

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import pre_delete


class ArticlesConfig(AppConfig):
    name = "articles"
    verbose_name = "matérias"

    def ready(self) -> None:
        """Log deletions by signal: the admin deletes in bulk, without calling delete()."""
        pre_delete.connect(announce_removed, self.get_model("Article"))
        pre_delete.connect(announce_untagged, self.get_model("Tag"))


def announce_removed(instance: Any, **_: Any) -> None:
    from . import publication

    publication.announce(instance, removed=True)


def announce_untagged(instance: Any, **_: Any) -> None:
    from . import publication
    from .models import Article

    publication.announce_changed(Article.public.filter(tags=instance.pk))
