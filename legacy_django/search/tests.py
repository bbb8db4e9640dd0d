# SPDX-License-Identifier: Apache-2.0
"""Search."""

from django.test import TestCase

from articles.models import Article
from articles.testing import make_article


class SearchTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        make_article("a", title="Educação muda em São Tomé", section="Cidades")
        make_article("b", title="Obra muda o trânsito")
        make_article("c", title="Educação em rascunho", status=Article.Status.DRAFT)

    def found(self, query: str) -> list[str]:
        response = self.client.get("/busca", {"q": query})
        return [article.slug for article in response.context["page_obj"]]

    def test_words_accents_case(self) -> None:
        self.assertEqual(self.found("EDUCACAO"), ["a"])
        self.assertEqual(self.found("tomé muda"), ["a"])
        self.assertEqual(self.found("muda"), ["b", "a"])
        self.assertEqual(self.found("100%"), [])
        self.assertEqual(self.found("nada\0"), [])

    def test_the_query_is_escaped_and_stays_in_the_pages_links(self) -> None:
        for n in range(21):
            make_article(f"n{n}", title=f"Feira & festa {n}")
        page = self.client.get("/busca", {"q": "feira & festa"})
        self.assertContains(page, "para “feira &amp; festa”")
        self.assertContains(page, "?q=feira+%26+festa&amp;page=2")
        self.assertContains(self.client.get("/busca?q=feira&page=99"), "Página 2 de 2")

    def test_an_empty_search_and_the_address_without_slash(self) -> None:
        self.assertEqual(self.found(""), [])
        self.assertEqual(self.client.get("/busca/").status_code, 404)
