# SPDX-License-Identifier: Apache-2.0
"""The help pages and their languages."""

from django.test import TestCase
from django.utils import translation


class HelpTest(TestCase):
    def test_the_readers_language(self) -> None:
        for accept, language, title in (
            ("", "pt-br", "Ajuda"),
            ("en-GB,en;q=0.8", "en", "Help"),
            ("es", "es", "Ayuda"),
            ("ja", "pt-br", "Ajuda"),
        ):
            with self.subTest(accept):
                page = self.client.get("/ajuda/", headers={"Accept-Language": accept})
                self.assertContains(page, f"<h1>{title}</h1>")
                self.assertContains(page, f'<html lang="{language}">')
                self.assertEqual(page["Content-Language"], language)
                self.assertIn("Accept-Language", page["Vary"])
                self.assertEqual(translation.get_language(), "pt-br")

    def test_a_chosen_language_is_remembered_here_and_nowhere_else(self) -> None:
        form = {"language": "en", "next": "/ajuda/"}
        self.assertRedirects(self.client.post("/ajuda/idioma/", form), "/ajuda/")
        self.assertContains(self.client.get("/ajuda/contato/"), "Write to the newsroom")
        self.assertContains(self.client.get("/"), "Mais lidas")
        self.assertNotIn("Content-Language", self.client.get("/").headers)

    def test_contact(self) -> None:
        form = {"name": "Maria", "email": "maria@example.com", "message": "Olá"}
        page = self.client.post("/ajuda/contato/", form, follow=True)
        self.assertContains(page, "Mensagem recebida")
        self.assertContains(
            self.client.post("/ajuda/contato/", {}, headers={"Accept-Language": "en"}),
            "This field is required",
        )
