# SPDX-License-Identifier: Apache-2.0
"""The JSON API."""

from django.test import TestCase, override_settings

from articles import publication
from articles.models import Article, Author
from articles.testing import make_article

WRITER = {"Authorization": "Bearer api-token"}
READER = {"Authorization": "Bearer publish-token"}


class ArticlesTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        for n in range(25):
            make_article(f"n{n}", section="Campo" if n < 5 else "Cidades", tags="Obras")

    def test_list_and_filters(self) -> None:
        first = self.client.get("/api/materias/").json()
        self.assertEqual((first["count"], first["pages"], len(first["results"])), (25, 2, 20))
        self.assertEqual(first["results"][0]["url"], "/noticia/n24.ghtml")
        inside = self.client.get("/api/materias/?secao=campo&tag=obras&per_page=2&page=3").json()
        self.assertEqual((inside["count"], len(inside["results"])), (5, 1))

    def test_wrong_pages(self) -> None:
        for query, status in (("page=x", 400), ("page=-1", 400), ("page=9", 404)):
            with self.subTest(query):
                response = self.client.get(f"/api/materias/?{query}")
                self.assertEqual(response.status_code, status)
                self.assertIn("error", response.json())

    def test_one_article_is_its_document(self) -> None:
        response = self.client.get("/api/materias/n1/")
        self.assertEqual(response.json(), publication.since(1, 1)["events"][0]["article"])
        again = self.client.get("/api/materias/n1/", headers={"If-None-Match": response["ETag"]})
        self.assertEqual(again.status_code, 304)
        self.assertEqual(self.client.get("/api/materias/nada/").status_code, 404)

    def write(self, method: str, url: str, data: object, **fields: str) -> object:
        headers = WRITER | {name.replace("_", "-"): value for name, value in fields.items()}
        client = self.client_class(enforce_csrf_checks=True)
        send = getattr(client, method)
        return send(url, data, content_type="application/json", headers=headers)

    def test_write_change_delete(self) -> None:
        new = {
            "slug": "nova",
            "title": "Nova",
            "section": "campo",
            "body": "<p>x</p>",
            "author": Author.objects.get().pk,
            "status": "public",
        }
        made = self.write("post", "/api/materias/", new)
        self.assertEqual((made.status_code, made["Location"]), (201, "/api/materias/nova/"))
        changed = self.write("patch", "/api/materias/nova/", {"title": "Mais nova"})
        self.assertEqual((changed.status_code, changed.json()["title"]), (200, "Mais nova"))
        self.assertContains(self.client.get("/noticia/nova.ghtml"), "Mais nova")
        self.assertEqual(self.write("delete", "/api/materias/nova/", "").status_code, 204)
        self.assertEqual(self.client.get("/noticia/nova.ghtml").status_code, 404)
        kinds = [event["kind"] for event in publication.since(25)["events"]]
        self.assertEqual(kinds, ["removed"] * 3)

    def test_a_change_that_was_overtaken_is_refused(self) -> None:
        etag = self.client.get("/api/materias/n1/")["ETag"]
        for status in (200, 412):
            answer = self.write("patch", "/api/materias/n1/", {"title": "Meu"}, If_Match=etag)
            self.assertEqual(answer.status_code, status)

    def test_what_cannot_be_stored(self) -> None:
        self.assertEqual(self.write("post", "/api/materias/", [1]).status_code, 400)
        answer = self.write("patch", "/api/materias/n1/", {"section": "nada", "title": ""})
        self.assertEqual(answer.status_code, 422)
        self.assertEqual(set(answer.json()["error"]), {"section", "title"})

    def test_writing_takes_the_token(self) -> None:
        for headers in ({}, READER, {"Authorization": "Bearer"}):
            answer = self.client.delete("/api/materias/n1/", headers=headers)
            self.assertEqual((answer.status_code, answer["WWW-Authenticate"]), (401, "Bearer"))
        self.assertTrue(Article.objects.filter(slug="n1").exists())


class PublicationsTest(TestCase):
    def test_the_log_over_http(self) -> None:
        for n in range(3):
            make_article(f"n{n}")
        page = self.client.get("/api/publicacoes/?after=1&limit=1", headers=READER)
        self.assertEqual(page.json(), publication.since(1, 1))
        self.assertTrue(page.json()["more"])

    def test_it_is_closed_without_the_token_and_where_none_is_set(self) -> None:
        self.assertEqual(self.client.get("/api/publicacoes/").status_code, 401)
        with override_settings(PUBLISH_TOKEN=""):
            headers = {"Authorization": "Bearer "}
            self.assertEqual(self.client.get("/api/publicacoes/", headers=headers).status_code, 401)

    def test_wrong_numbers(self) -> None:
        for query in ("after=x", "after=-1", "limit=x"):
            response = self.client.get(f"/api/publicacoes/?{query}", headers=READER)
            self.assertEqual(response.status_code, 400)
