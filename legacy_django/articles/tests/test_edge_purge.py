# SPDX-License-Identifier: Apache-2.0
"""The edge is told of what has changed: after the commit, off the thread, again if it was lost."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

from django.db import transaction
from django.test import TestCase, TransactionTestCase, override_settings

import edge_purge
from articles.models import Article
from articles.testing import make_article

TOKEN = "a-token-of-enough-letters"
SITES = ["https://www.example.com/", "http://localhost:8000"]


class Edge(BaseHTTPRequestHandler):
    """An admin listener that answers with what it is told to, 200 in the end."""

    def do_POST(self) -> None:
        server: Any = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        status = server.statuses.pop(0) if server.statuses else 200
        server.asked.append((self.headers["Authorization"], body, status))
        self.send_response(status)
        self.send_header("Content-Length", "2")
        self.end_headers()
        self.wfile.write(b"{}")

    def log_message(self, *_: object) -> None:
        pass


class EdgePurgeTest(TransactionTestCase):
    def setUp(self) -> None:
        self.server: Any = HTTPServer(("127.0.0.1", 0), Edge)
        self.server.asked, self.server.statuses = [], []
        thread = threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True)
        thread.start()
        self.addCleanup(thread.join)
        self.addCleanup(self.server.server_close)
        self.addCleanup(self.server.shutdown)
        self.enterContext(
            override_settings(
                EDGE_PURGE_URL=f"http://127.0.0.1:{self.server.server_port}/-/purge",
                EDGE_PURGE_TOKEN=TOKEN,
                EDGE_PURGE_SITES=SITES,
                EDGE_PURGE_AGAIN=[],
            )
        )
        self.addCleanup(edge_purge.flush, 5.0)

    @property
    def asked(self) -> list[tuple[str, dict[str, list[str]], int]]:
        self.assertTrue(edge_purge.flush(10.0))
        return self.server.asked

    def test_an_articles_life_is_purged_by_tag_and_url(self) -> None:
        article = make_article("a")
        for change in ("published", "changed", "removed"):
            with self.subTest(change):
                if change == "changed":
                    article.title = "Outro título"
                if change == "removed":
                    article.status = Article.Status.REMOVED
                article.save()
                by_tag, by_url = self.asked[-2:]
                self.assertEqual(by_tag, (f"Bearer {TOKEN}", {"tag": ["noticia:a"]}, 200))
                urls = [site.rstrip("/") + "/noticia/a.ghtml" for site in SITES]
                self.assertEqual(by_url[1], {"url": urls})

    def test_a_rollback_purges_nothing(self) -> None:
        with self.assertRaises(RuntimeError), transaction.atomic():
            edge_purge.purge(tags=["a"])
            raise RuntimeError
        self.assertEqual(self.asked, [])

    def test_nothing_is_sent_before_the_commit(self) -> None:
        with transaction.atomic():
            edge_purge.purge(tags=["a"])
            self.assertEqual(self.asked, [])
        self.assertEqual([body for _, body, _ in self.asked], [{"tag": ["a"]}])

    def test_a_lost_purge_is_tried_again(self) -> None:
        self.server.statuses[:] = [503, 429]
        with self.settings():
            edge_purge.purge(tags=["a"])
            self.assertEqual([status for _, _, status in self.asked], [503, 429, 200])

    def test_what_makes_no_sense_is_logged_and_not_repeated(self) -> None:
        self.server.statuses[:] = [401]
        with self.assertLogs("edge_purge", "ERROR") as logged:
            edge_purge.purge(tags=["a", "b"])
            self.assertEqual(len(self.asked), 1)
        self.assertIn("2 tags not purged (status 401", logged.output[0])

    def test_it_is_made_once_more_for_those_who_follow(self) -> None:
        with override_settings(EDGE_PURGE_AGAIN=[0.1]):
            edge_purge.purge(tags=["a"])
        self.assertEqual(len(self.asked), 1)
        threading.Event().wait(0.15)
        self.assertEqual([body for _, body, _ in self.asked], [{"tag": ["a"]}] * 2)

    def test_many_are_few_requests(self) -> None:
        with transaction.atomic():
            for number in range(edge_purge.BATCH + 1):
                edge_purge.purge(tags=[f"t{number}", "all"])
        sent = [tag for _, body, _ in self.asked for tag in body["tag"]]
        self.assertEqual(set(sent), {"all", *(f"t{n}" for n in range(edge_purge.BATCH + 1))})
        self.assertLess(len(self.asked), 20)


class EdgePurgeOffTest(TestCase):
    def test_it_is_off_where_nobody_is_named(self) -> None:
        with override_settings(EDGE_PURGE_URL=""), self.captureOnCommitCallbacks() as callbacks:
            edge_purge.purge(tags=["a"], paths=["/"])
        self.assertEqual(callbacks, [])
