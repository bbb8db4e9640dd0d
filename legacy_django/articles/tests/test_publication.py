# SPDX-License-Identifier: Apache-2.0
"""The publication log, its hooks, its export."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from io import StringIO

from django.core.management import call_command
from django.db import transaction
from django.test import TestCase, override_settings

from accounts.models import User
from articles import hooks, publication
from articles.models import Article, Publication, Section, Tag
from articles.testing import make_article

DRAFT, PUBLIC, REMOVED = Article.Status.DRAFT, Article.Status.PUBLIC, Article.Status.REMOVED


class LogTest(TestCase):
    def log(self, after: int = 0) -> list[tuple[str, str]]:
        return list(Publication.objects.filter(seq__gt=after).values_list("kind", "slug"))

    def test_an_articles_life(self) -> None:
        article = make_article("a", status=DRAFT)
        self.assertEqual(self.log(), [])
        for status in (PUBLIC, PUBLIC, REMOVED, REMOVED, PUBLIC):
            article.status = status
            article.save()
        article.delete()
        kinds = [kind for kind, _ in self.log()]
        self.assertEqual(kinds, ["published", "changed", "removed", "published", "removed"])
        seqs = list(Publication.objects.values_list("seq", flat=True))
        self.assertEqual(seqs, [1, 2, 3, 4, 5])

    def test_a_new_address_is_a_removal_and_a_publication(self) -> None:
        article = make_article("a")
        article.slug = "b"
        article.save()
        self.assertEqual(self.log(1), [("removed", "a"), ("published", "b")])

    def test_pages_that_link_to_a_changed_title_have_changed(self) -> None:
        article, linking = make_article("a"), make_article("b")
        linking.related.add(article)
        article.body = "<p>Outro.</p>"
        article.save()
        self.assertEqual(self.log(2), [("changed", "a")])
        article.title = "Outro"
        article.save()
        self.assertEqual(self.log(3), [("changed", "a"), ("changed", "b")])
        Article.objects.filter(slug="a").delete()
        self.assertEqual(self.log(5), [("removed", "a"), ("changed", "b")])

    def test_renaming_a_section_changes_its_public_articles_only(self) -> None:
        make_article("a")
        make_article("b", status=DRAFT)
        make_article("c", section="Campo")
        section = Section.objects.get(slug="cidades")
        section.order = 7
        section.save()
        self.assertEqual(self.log(2), [])
        section.name = "Nossas cidades"
        section.save()
        self.assertEqual(self.log(2), [("changed", "a")])

    def test_a_deleted_tag_changes_its_articles(self) -> None:
        make_article("a", tags="Obras")
        Tag.objects.all().delete()
        self.assertEqual(self.log(1), [("changed", "a")])
        self.assertEqual(publication.since(1)["events"][0]["article"]["tags"], [])

    def test_a_change_that_is_rolled_back_leaves_neither_row_nor_gap(self) -> None:
        make_article("a")
        try:
            with transaction.atomic():
                make_article("b")
                raise RuntimeError
        except RuntimeError:
            pass
        make_article("c")
        self.assertEqual(list(Publication.objects.values_list("seq", "slug")), [(1, "a"), (2, "c")])

    def test_events_carry_the_present_and_old_ones_of_a_removed_article_removals(self) -> None:
        article = make_article("a")
        article.title = "Agora"
        article.save()
        titles = [event["article"]["title"] for event in publication.since(0)["events"]]
        self.assertEqual(titles, ["Agora", "Agora"])
        article.delete()
        events = publication.since(0)["events"]
        self.assertEqual({(e["kind"], e["article"]) for e in events}, {("removed", None)})

    def test_pages_of_the_log(self) -> None:
        for n in range(5):
            make_article(f"n{n}")
        first = publication.since(0, 3)
        self.assertEqual((len(first["events"]), first["last"], first["more"]), (3, 3, True))
        rest = publication.since(3, 3)
        self.assertEqual((len(rest["events"]), rest["last"], rest["more"]), (2, 5, False))
        self.assertEqual(publication.since(5), {"events": [], "last": 5, "more": False})

    def test_a_page_of_the_log_costs_few_queries(self) -> None:
        for n in range(10):
            make_article(f"n{n}", tags="Obras")
        with self.assertNumQueries(4):  # log, articles, tags, related
            publication.since(0)

    def test_export_gives_the_newest_event_of_each_address(self) -> None:
        one, two = make_article("um"), make_article("dois")
        one.save()
        two.delete()
        lines = self.export()
        self.assertEqual(
            [(line["seq"], line["kind"], line["slug"]) for line in lines],
            [(3, "changed", "um"), (4, "removed", "dois")],
        )
        self.assertEqual(lines[0], publication.since(2)["events"][0])
        self.assertEqual([line["seq"] for line in self.export("--after", "3")], [4])

    def export(self, *options: str) -> list[dict]:
        out = StringIO()
        call_command("export_materias", *options, stdout=out)
        return [json.loads(line) for line in out.getvalue().splitlines()]

    def test_the_admin_announces_once_with_its_tags(self) -> None:
        make_article("a", tags="Obras")
        article, tag = Article.objects.get(), Tag.objects.get()
        self.client.force_login(User.objects.create_superuser("admin"))
        form = {
            "slug": "nova",
            "title": "Nova",
            "subtitle": "",
            "body": "<p>x</p>",
            "image": "",
            "section": article.section_id,
            "author": article.author_id,
            "tags": [tag.pk],
            "image_caption": "",
            "status": "public",
            "related": [article.pk],
            "published_at_0": "2026-03-15",
            "published_at_1": "11:05",
        }
        response = self.client.post("/admin/articles/article/add/", form)
        self.assertRedirects(response, "/admin/articles/article/")
        (event,) = publication.since(1)["events"]
        self.assertEqual(event["kind"], "published")
        self.assertEqual(event["article"]["tags"][0]["name"], "Obras")
        self.assertEqual(event["article"]["related"][0]["url"], "/noticia/a.ghtml")
        action = {"action": "take_down", "_selected_action": [article.pk]}
        self.client.post("/admin/articles/article/", action)
        self.assertEqual(self.log(2), [("removed", "a"), ("changed", "nova")])


class Receiver(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.received.append((self.headers["Authorization"], json.loads(body)))
        self.send_response(204)
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Keep the test's output clean."""


class HooksTest(TestCase):
    def setUp(self) -> None:
        self.server = HTTPServer(("127.0.0.1", 0), Receiver)
        self.server.received = []
        thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.url = f"http://127.0.0.1:{self.server.server_port}/eventos"

    def test_every_hook_gets_the_event_after_the_commit(self) -> None:
        with override_settings(PUBLISH_HOOKS=[f"{self.url}?1", f"{self.url}?2"]):
            with self.captureOnCommitCallbacks(execute=True):
                make_article("a")
                self.assertEqual(self.server.received, [])
            self.assertTrue(hooks.flush(5))
        event = publication.since(0)["events"][0]
        self.assertEqual(self.server.received, [("Bearer publish-token", event)] * 2)

    def test_a_dead_hook_is_logged_and_holds_up_nobody(self) -> None:
        dead = HTTPServer(("127.0.0.1", 0), Receiver)
        url = f"http://127.0.0.1:{dead.server_port}/"
        dead.server_close()
        with (
            override_settings(PUBLISH_HOOKS=[url, self.url]),
            self.assertLogs("articles.hooks", "WARNING"),
        ):
            with self.captureOnCommitCallbacks(execute=True):
                make_article("a")
            self.assertTrue(hooks.flush(5))
        self.assertEqual(len(self.server.received), 1)
