# SPDX-License-Identifier: Apache-2.0
"""Comments."""

from django.test import TestCase

from accounts.models import User
from articles.testing import make_article

from .models import Comment

SCRIPT = {"X-Requested-With": "XMLHttpRequest"}


class CommentsTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_user("maria")
        cls.article = make_article()
        cls.url = f"/comentarios/{cls.article.pk}/"

    def test_a_fragment_for_scripts_and_a_page_for_others(self) -> None:
        fragment = self.client.get(self.url, headers=SCRIPT)
        self.assertNotContains(fragment, "<html")
        self.assertContains(self.client.get(self.url), "<html")
        self.assertIn("X-Requested-With", fragment["Vary"])
        self.assertIn("no-store", fragment["Cache-Control"])

    def test_only_readers_with_an_account_comment(self) -> None:
        self.assertContains(self.client.get(self.url), "para comentar")
        response = self.client.post(self.url, {"text": "Oi"})
        self.assertEqual(response["Location"], "/conta/entrar/?next=/noticia/chuva.ghtml")
        self.assertFalse(Comment.objects.exists())

    def test_a_comment_needs_the_token_and_is_escaped(self) -> None:
        client = self.client_class(enforce_csrf_checks=True)
        client.force_login(self.user)
        refused = client.post(self.url, {"text": "Oi"})
        self.assertContains(refused, "Formulário vencido", status_code=403)
        client.get(self.url)
        token = {"X-CSRFToken": client.cookies["csrftoken"].value}
        response = client.post(self.url, {"text": "<b>Oi</b>"}, headers=SCRIPT | token)
        self.assertContains(response, "&lt;b&gt;Oi&lt;/b&gt;", status_code=201)

    def test_without_script_the_article_comes_back(self) -> None:
        self.client.force_login(self.user)
        response = self.client.post(self.url, {"text": "Oi"})
        self.assertRedirects(response, "/noticia/chuva.ghtml#comentarios")
        self.assertEqual(self.client.post(self.url, {"text": " "}).status_code, 422)

    def test_hidden_comments_and_closed_articles(self) -> None:
        Comment.objects.create(article=self.article, user=self.user, text="feio", is_visible=False)
        self.assertNotContains(self.client.get(self.url), "feio")
        closed = make_article("fechada", comments_open=False)
        page = self.client.get(f"/comentarios/{closed.pk}/")
        self.assertContains(page, "não recebe comentários", status_code=403)
        self.assertNotContains(self.client.get("/noticia/fechada.ghtml"), 'data-fragment="/com')
