# SPDX-License-Identifier: Apache-2.0
"""Articles, what classifies them, and the publication log.

A public article that is saved, renamed, retagged or taken down leaves a row in the log, in the
same transaction; `publication` says how.
"""

import unicodedata
from typing import Any, ClassVar

from django.db import models, transaction
from django.db.models import F
from django.urls import reverse
from django.utils import timezone

from . import publication


def fold(text: str) -> str:
    """Return the text in lower case without accents, for searching."""
    decomposed = unicodedata.normalize("NFKD", text.lower())
    return "".join(c for c in decomposed if not unicodedata.combining(c))


class Heading(models.Model):
    """What article pages name and link to: renaming one changes the pages of its articles."""

    name = models.CharField("nome", max_length=80)
    slug = models.SlugField("endereço", max_length=80, unique=True)

    shown: ClassVar = ("name", "slug")  # the columns that article pages show

    class Meta:
        abstract = True
        ordering = ("name",)

    def __str__(self) -> str:
        return self.name

    @transaction.atomic
    def save(self, *args: Any, **kwargs: Any) -> None:
        before = type(self).objects.filter(pk=self.pk).values_list(*self.shown).first()
        super().save(*args, **kwargs)
        if before and before != tuple(getattr(self, column) for column in self.shown):
            publication.announce_changed(Article.public.filter(pk__in=self.articles.values("pk")))


class Section(Heading):
    """A desk of the newsroom; every article belongs to one."""

    order = models.PositiveSmallIntegerField("ordem", default=0)

    class Meta(Heading.Meta):
        verbose_name = "editoria"
        ordering = ("order", "name")

    def get_absolute_url(self) -> str:
        return reverse("articles:section", args=[self.slug])


class Tag(Heading):
    """A subject that articles of any section share."""

    class Meta(Heading.Meta):
        verbose_name = "assunto"

    def get_absolute_url(self) -> str:
        return reverse("articles:tag", args=[self.slug])


class Author(Heading):
    """Who signs an article; not necessarily someone with an account."""

    role = models.CharField("cargo", max_length=80, blank=True)
    shown: ClassVar = (*Heading.shown, "role")

    class Meta(Heading.Meta):
        verbose_name = "autor"
        verbose_name_plural = "autores"

    def get_absolute_url(self) -> str:
        return reverse("articles:author", args=[self.slug])


class PublicArticles(models.Manager):
    """The articles that readers may see, newest first."""

    def get_queryset(self) -> models.QuerySet["Article"]:
        return (
            super()
            .get_queryset()
            .filter(status=Article.Status.PUBLIC)
            .order_by("-published_at", "-pk")
        )

    def cards(self) -> models.QuerySet["Article"]:
        """Leave out the long columns that lists do not show."""
        return self.select_related("section", "author").defer("body", "search_text")

    def documents(self) -> models.QuerySet["Article"]:
        """Fetch with each article all that its document holds, in three queries."""
        related = models.Prefetch("related", Article.objects.only("title", "slug", "status"))
        return self.select_related("section", "author").prefetch_related("tags", related)


class Article(models.Model):
    """One news article."""

    class Status(models.TextChoices):
        DRAFT = "draft", "rascunho"
        PUBLIC = "public", "publicada"
        REMOVED = "removed", "retirada"

    slug = models.SlugField("endereço", max_length=150, unique=True)
    title = models.CharField("título", max_length=200)
    subtitle = models.CharField("linha fina", max_length=300, blank=True)
    section = models.ForeignKey(
        Section, models.PROTECT, related_name="articles", verbose_name="editoria"
    )
    author = models.ForeignKey(
        Author, models.PROTECT, related_name="articles", verbose_name="autor"
    )
    tags = models.ManyToManyField(Tag, related_name="articles", blank=True, verbose_name="assuntos")
    body = models.TextField("texto", help_text="HTML: p, h2, blockquote, ul, strong, em, a.")
    image = models.CharField("imagem", max_length=200, blank=True, help_text="Endereço no site.")
    image_caption = models.CharField("legenda", max_length=200, blank=True)
    related = models.ManyToManyField(
        "self", symmetrical=False, related_name="related_from", blank=True, verbose_name="leia mais"
    )
    status = models.CharField(
        "situação", max_length=8, choices=Status.choices, default=Status.DRAFT, db_index=True
    )
    published_at = models.DateTimeField("publicada em", null=True, blank=True)
    # The local day, kept apart so that the archive needs no time zone tables in MySQL.
    published_on = models.DateField("dia", null=True, editable=False, db_index=True)
    updated_at = models.DateTimeField("atualizada em", editable=False)
    comments_open = models.BooleanField("aceita comentários", default=True)
    views = models.PositiveIntegerField("leituras", default=0, editable=False, db_index=True)
    search_text = models.TextField(editable=False)

    objects = models.Manager()
    public = PublicArticles()

    class Meta:
        verbose_name = "matéria"
        ordering = ("-published_at", "-pk")
        indexes = (
            models.Index(fields=["status", "-published_at", "-id"], name="article_newest"),
            models.Index(
                fields=["section", "status", "-published_at", "-id"], name="article_section_newest"
            ),
        )

    def __str__(self) -> str:
        return self.title

    def get_absolute_url(self) -> str:
        return reverse("articles:article", args=[self.slug])

    @property
    def is_public(self) -> bool:
        return self.status == self.Status.PUBLIC

    def complete(self) -> None:
        """Fill the columns that follow from others: day, search text, moment of publication."""
        if self.is_public and self.published_at is None:
            self.published_at = self.updated_at
        if self.published_at:
            self.published_on = timezone.localtime(self.published_at).date()
        self.search_text = fold(f"{self.title} {self.subtitle} {self.section.name}")

    @transaction.atomic
    def save(self, *args: Any, announce: bool = True, **kwargs: Any) -> None:
        """Save and announce; pass announce=False where tags are still to be set, then announce."""
        self.updated_at = timezone.now()
        self.complete()
        super().save(*args, **kwargs)
        if announce:
            publication.announce(self)

    def count_view(self) -> None:
        """Count one reading: no change of the article, so nothing is announced."""
        Article.objects.filter(pk=self.pk).update(views=F("views") + 1)


class Publication(models.Model):
    """One line of the publication log: append-only, without gaps, in order of commit."""

    class Kind(models.TextChoices):
        PUBLISHED = "published", "publicada"
        CHANGED = "changed", "alterada"
        REMOVED = "removed", "retirada"

    seq = models.BigIntegerField(primary_key=True)
    kind = models.CharField("tipo", max_length=9, choices=Kind.choices)
    article_id = models.BigIntegerField("matéria", db_index=True)  # outlives its article
    slug = models.SlugField("endereço", max_length=150)
    title = models.CharField("título", max_length=200)
    at = models.DateTimeField("quando", default=timezone.now)

    class Meta:
        verbose_name = "publicação"
        verbose_name_plural = "publicações"
        ordering = ("seq",)

    def __str__(self) -> str:
        return f"{self.seq} {self.kind} {self.slug}"


class PublicationCursor(models.Model):
    """The last number given out. Its one row is locked until commit, which orders the log."""

    last = models.BigIntegerField(default=0)
