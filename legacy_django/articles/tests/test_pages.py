# SPDX-License-Identifier: Apache-2.0
"""The pages of the articles app."""

import json
from datetime import timedelta

from django.contrib.auth.models import Permission
from django.template.loader import render_to_string
from django.test import TestCase

from accounts.models import User
from articles.documents import document
from articles.models import Article, Publication
from articles.testing import MOMENT, make_article


class ArticlePageTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.article = make_article(title='Chuva "forte" & frio', tags="Zelo Água")
        cls.url = "/noticia/chuva.ghtml"

    def test_the_address_keeps_its_old_form(self) -> None:
        self.assertEqual(self.article.get_absolute_url(), self.url)
        self.assertEqual(self.client.get("/noticia/chuva/").status_code, 404)

    def test_the_document_as_json_is_enough_to_render_the_page(self) -> None:
        copied = json.loads(json.dumps(document(self.article)))
        page = render_to_string("articles/article.html", {"article": copied})
        self.assertEqual(self.client.get(self.url).content.decode(), page)

    def test_the_page_is_the_same_for_a_reader_with_a_session(self) -> None:
        anonymous = self.client.get(self.url)
        self.client.force_login(User.objects.create_user("maria"))
        logged_in = self.client.get(self.url)
        self.assertEqual(anonymous.content, logged_in.content)
        for response in (anonymous, logged_in):
            self.assertNotIn("Vary", response.headers)
            self.assertNotIn("Set-Cookie", response.headers)
            self.assertNotIn(b"csrfmiddlewaretoken", response.content)

    def test_reading_it_touches_neither_session_nor_user(self) -> None:
        with self.assertNumQueries(3):  # article, tags, related
            self.client.get(self.url)

    def test_it_is_conditional_by_its_content(self) -> None:
        first = self.client.get(self.url)
        again = self.client.get(self.url, headers={"If-None-Match": first["ETag"]})
        self.assertEqual((again.status_code, again.content), (304, b""))
        self.assertEqual(first["Cache-Control"], "public, max-age=0, s-maxage=10")
        self.article.subtitle = "Outra"
        self.article.save()
        changed = self.client.get(self.url, headers={"If-None-Match": first["ETag"]})
        self.assertEqual(changed.status_code, 200)

    def test_dates_are_in_portuguese_and_an_update_is_told(self) -> None:
        Article.objects.update(updated_at=MOMENT + timedelta(seconds=30))
        self.assertContains(self.client.get(self.url), "15 de março de 2026, 11h05")
        self.assertNotContains(self.client.get(self.url), "Atualizada em")
        Article.objects.update(updated_at=MOMENT + timedelta(hours=2))
        self.assertContains(self.client.get(self.url), "15 de março de 2026, 13h05")

    def test_text_is_escaped_and_tags_are_sorted(self) -> None:
        page = self.client.get(self.url).content.decode()
        self.assertIn("<h1>Chuva &quot;forte&quot; &amp; frio</h1>", page)
        # By code point, whatever the database thinks of Á.
        self.assertLess(page.index(">Zelo<"), page.index(">Água<"))

    def test_only_public_articles_are_shown_or_linked(self) -> None:
        draft = make_article("rascunho", status=Article.Status.DRAFT)
        public = make_article("publica")
        self.article.related.set([draft, public, self.article])
        self.assertEqual(self.client.get("/noticia/rascunho.ghtml").status_code, 404)
        related = document(self.article)["related"]
        self.assertEqual([other["url"] for other in related], ["/noticia/publica.ghtml"])

    def test_reading_is_counted_without_a_token_and_announces_nothing(self) -> None:
        client = self.client_class(enforce_csrf_checks=True)
        self.assertEqual(client.post("/noticia/chuva/lida/").status_code, 204)
        self.assertEqual(client.get("/noticia/chuva/lida/").status_code, 405)
        self.assertEqual(client.post("/noticia/nada/lida/").status_code, 404)
        self.article.refresh_from_db()
        self.assertEqual(self.article.views, 1)
        self.assertEqual(Publication.objects.count(), 1)


class ListPagesTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        for n in range(45):
            make_article(f"n{n}", published_at=MOMENT - timedelta(days=n), tags="Obras", views=n)

    def test_front_page(self) -> None:
        page = self.client.get("/")
        self.assertContains(page, "Título de n0")
        self.assertContains(page, "Cadastre-se")

    def test_pages_of_a_section(self) -> None:
        last = self.client.get("/secao/cidades/?page=3")
        self.assertEqual(len(last.context["page_obj"]), 5)
        self.assertContains(last, 'href="?page=2"')
        self.assertEqual(self.client.get("/secao/cidades/?page=4").status_code, 404)
        self.assertEqual(self.client.get("/secao/nada/").status_code, 404)

    def test_tag_and_author(self) -> None:
        for url in ("/tag/obras/", "/autor/ana/"):
            self.assertContains(self.client.get(url), "Página 1 de 3")

    def test_most_read_is_cached_for_a_minute(self) -> None:
        first = self.client.get("/mais-lidas/")
        Article.objects.filter(slug="n0").update(views=10**6)
        self.assertEqual(self.client.get("/mais-lidas/").content, first.content)
        self.assertEqual(first["Cache-Control"], "max-age=60")

    def test_archive_by_year_month_and_day(self) -> None:
        self.assertContains(self.client.get("/arquivo/"), "/arquivo/2026/")
        self.assertContains(self.client.get("/arquivo/2026/"), "/arquivo/2026/2/")
        self.assertContains(self.client.get("/arquivo/2026/3/"), "/arquivo/2026/3/15/")
        day = self.client.get("/arquivo/2026/3/15/")
        self.assertContains(day, "15 de março de 2026")
        self.assertEqual([a.slug for a in day.context["articles"]], ["n0"])
        self.assertEqual(self.client.get("/arquivo/2019/").status_code, 404)

    def test_the_archives_day_is_the_newsrooms(self) -> None:
        night = MOMENT.replace(hour=1)  # still the evening before in the newsroom
        self.assertEqual(make_article("noite", published_at=night).published_on.day, 14)

    def test_a_section_is_conditional_for_readers_without_cookies(self) -> None:
        etag = self.client.get("/secao/cidades/")["ETag"]
        again = self.client.get("/secao/cidades/", headers={"If-None-Match": etag})
        self.assertEqual(again.status_code, 304)
        Article.objects.get(slug="n0").delete()
        again = self.client.get("/secao/cidades/", headers={"If-None-Match": etag})
        self.assertEqual(again.status_code, 200)
        self.client.force_login(User.objects.create_user("maria"))
        self.assertNotIn("ETag", self.client.get("/secao/cidades/").headers)

    def test_feed(self) -> None:
        feed = self.client.get("/feed.xml")
        self.assertContains(feed, "<link>http://testserver/noticia/n0.ghtml</link>")
        again = self.client.get(
            "/feed.xml", headers={"If-Modified-Since": "Mon, 01 Jan 2035 00:00:00 GMT"}
        )
        self.assertEqual(again.status_code, 304)

    def test_sitemap(self) -> None:
        sitemap = self.client.get("/sitemap.xml")
        for url in ("/noticia/n44.ghtml", "/secao/cidades/", "/enquetes/"):
            self.assertContains(sitemap, f"<loc>http://testserver{url}</loc>")


class EditTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.article = make_article()
        cls.url = "/noticia/chuva/editar/"
        cls.editor = User.objects.create_user("redacao")
        cls.editor.user_permissions.add(Permission.objects.get(codename="change_article"))

    def test_who_may_not(self) -> None:
        self.assertRedirects(
            self.client.get(self.url),
            f"/conta/entrar/?next={self.url}",
            fetch_redirect_response=False,
        )
        self.client.force_login(User.objects.create_user("maria"))
        self.assertContains(self.client.get(self.url), "Acesso negado", status_code=403)

    def test_an_edit_is_seen_and_announced(self) -> None:
        self.client.force_login(self.editor)
        form = self.client.get(self.url).context["form"].initial | {"title": "Novo título"}
        self.assertRedirects(self.client.post(self.url, form), "/noticia/chuva.ghtml")
        self.assertContains(self.client.get("/noticia/chuva.ghtml"), "Novo título")
        self.assertEqual(Publication.objects.last().kind, "changed")
