# SPDX-License-Identifier: Apache-2.0
"""The comments of an article: a fragment for the article page's script, a page for all others."""

from django import forms
from django.contrib.auth.views import redirect_to_login
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.utils.decorators import method_decorator
from django.views.decorators.cache import never_cache
from django.views.decorators.vary import vary_on_headers
from django.views.generic import View

from articles.models import Article

from .models import Comment

SHOWN = 50


class CommentForm(forms.ModelForm):
    class Meta:
        model = Comment
        fields = ("text",)
        widgets = {"text": forms.Textarea(attrs={"rows": 3, "placeholder": "Escreva com respeito"})}


@method_decorator((never_cache, vary_on_headers("X-Requested-With")), name="dispatch")
class CommentsView(View):
    def get(self, request: HttpRequest, pk: int) -> HttpResponse:
        return self.page(request, self.article(pk), CommentForm())

    def post(self, request: HttpRequest, pk: int) -> HttpResponse:
        article = self.article(pk)
        if not request.user.is_authenticated:
            return redirect_to_login(article.get_absolute_url())
        form = CommentForm(request.POST)
        if not form.is_valid():
            return self.page(request, article, form, status=422)
        form.instance.article, form.instance.user = article, request.user
        form.save()
        if self.is_fragment(request):
            return self.page(request, article, CommentForm(), status=201)
        return redirect(f"{article.get_absolute_url()}#comentarios")

    def article(self, pk: int) -> Article:
        article = get_object_or_404(Article.public.cards(), pk=pk)
        if not article.comments_open:
            raise PermissionDenied("Esta matéria não recebe comentários.")
        return article

    def is_fragment(self, request: HttpRequest) -> bool:
        return request.headers.get("X-Requested-With") == "XMLHttpRequest"

    def page(
        self, request: HttpRequest, article: Article, form: CommentForm, status: int = 200
    ) -> HttpResponse:
        visible = article.comments.filter(is_visible=True)
        context = {
            "article": article,
            "comments": visible.select_related("user")[:SHOWN],
            "total": visible.count(),
            "form": form,
        }
        name = "fragment" if self.is_fragment(request) else "page"
        return render(request, f"comments/{name}.html", context, status=status)
