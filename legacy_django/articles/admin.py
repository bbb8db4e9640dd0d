# SPDX-License-Identifier: Apache-2.0
"""The newsroom's desk."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from . import publication
from .models import Article, Author, Publication, Section, Tag

admin.site.site_header = "Redação da Gazeta do Vale"
admin.site.site_title = "Redação"
admin.site.index_title = "Mesa de trabalho"


@admin.register(Article)
class ArticleAdmin(admin.ModelAdmin):
    list_display = ("title", "section", "author", "status", "published_at", "views")
    list_filter = ("status", "section")
    list_select_related = ("section", "author")
    list_per_page = 50
    search_fields = ("title", "slug")
    date_hierarchy = "published_on"
    prepopulated_fields = {"slug": ("title",)}
    autocomplete_fields = ("tags", "related")
    readonly_fields = ("views", "updated_at")
    actions = ("publish", "take_down")

    def save_model(self, request: HttpRequest, obj: Article, form: Any, change: bool) -> None:
        """Save without announcing: tags and links are stored after the article."""
        obj.save(announce=False)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        super().save_related(request, form, formsets, change)
        publication.announce(form.instance)

    @admin.action(description="Publicar", permissions=["change"])
    def publish(self, request: HttpRequest, queryset: QuerySet[Article]) -> None:
        self.set_status(request, queryset, Article.Status.PUBLIC)

    @admin.action(description="Retirar do ar", permissions=["change"])
    def take_down(self, request: HttpRequest, queryset: QuerySet[Article]) -> None:
        self.set_status(request, queryset, Article.Status.REMOVED)

    def set_status(
        self, request: HttpRequest, queryset: QuerySet[Article], status: Article.Status
    ) -> None:
        for article in queryset:
            article.status = status
            article.save()
        self.message_user(request, f"{len(queryset)} matérias: {status.label}.")


@admin.register(Section, Tag, Author)
class HeadingAdmin(admin.ModelAdmin):
    list_display = ("name", "slug")
    search_fields = ("name",)
    prepopulated_fields = {"slug": ("name",)}


@admin.register(Publication)
class PublicationAdmin(admin.ModelAdmin):
    """The log, to look at only."""

    list_display = ("seq", "kind", "slug", "at")
    list_filter = ("kind",)
    search_fields = ("slug",)
    ordering = ("-seq",)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False
