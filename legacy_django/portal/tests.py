# SPDX-License-Identifier: Apache-2.0
"""What belongs to the site as a whole: settings, error pages, static files, the real server."""

import http.client
import os
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.test import SimpleTestCase, TestCase, override_settings
from django.urls import path

from portal.settings import env


def broken(request: object) -> None:
    raise RuntimeError("broken on purpose")


urlpatterns = [path("broken/", broken)]


class SiteTest(TestCase):
    def test_append_slash(self) -> None:
        response = self.client.get("/secao/cidades?page=2")
        self.assertEqual(
            (response.status_code, response["Location"]), (301, "/secao/cidades/?page=2")
        )
        self.assertEqual(self.client.get("/healthcheck/").status_code, 404)

    def test_not_found_is_the_same_page_for_everyone(self) -> None:
        response = self.client.get("/nada/<b>")
        self.assertContains(response, "/nada/&lt;b&gt;", status_code=404)
        self.assertNotIn("Vary", response.headers)

    @override_settings(ROOT_URLCONF="portal.tests")
    def test_server_error(self) -> None:
        self.client.raise_request_exception = False
        with self.assertLogs("django.request", "ERROR"):
            response = self.client.get("/broken/")
        self.assertContains(response, "Algo deu errado", status_code=500)

    def test_unknown_hosts_are_refused(self) -> None:
        with self.assertLogs("django.security.DisallowedHost", "ERROR"):
            self.assertEqual(
                self.client.get("/", headers={"Host": "evil.example"}).status_code, 400
            )
        for host in ("www.example.com", "127.0.0.1:8000", "[::1]:8000", "localhost"):
            self.assertEqual(
                self.client.get("/robots.txt", headers={"Host": host}).status_code, 200
            )

    def test_static_files(self) -> None:
        response = self.client.get("/static/portal/portal.css")
        css = b"".join(response.streaming_content)
        self.assertEqual(css, (settings.BASE_DIR / "portal/static/portal/portal.css").read_bytes())
        again = self.client.get(
            "/static/portal/portal.css", headers={"If-None-Match": response["ETag"]}
        )
        self.assertEqual(again.status_code, 304)
        part = self.client.get("/static/portal/portal.css", headers={"Range": "bytes=0-9"})
        self.assertEqual((part.status_code, b"".join(part.streaming_content)), (206, css[:10]))

    def test_robots(self) -> None:
        self.assertContains(self.client.get("/robots.txt"), "http://testserver/sitemap.xml")

    def test_forwarded_proto_is_believed_only_if_told_to(self) -> None:
        fields = {"X-Forwarded-Proto": "https"}
        self.assertContains(self.client.get("/robots.txt", headers=fields), "http://testserver")
        with override_settings(SECURE_PROXY_SSL_HEADER=("HTTP_X_FORWARDED_PROTO", "https")):
            self.assertContains(
                self.client.get("/robots.txt", headers=fields), "https://testserver"
            )


class DatabaseUrlTest(SimpleTestCase):
    def test_mysql(self) -> None:
        found = env.database("mysql://us%40er:p%3Aw@db:3307/portal", Path("x"))
        picked = [found[name] for name in ("USER", "PASSWORD", "HOST", "PORT", "NAME")]
        self.assertEqual(picked, ["us@er", "p:w", "db", 3307, "portal"])

    def test_others(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "var" / "a.sqlite3"
            self.assertEqual(env.database("", file)["NAME"], file)
            self.assertTrue(file.parent.is_dir())
        with self.assertRaisesMessage(ImproperlyConfigured, "got 'oracle'"):
            env.database("oracle://x/y", Path("x"))


class ServerTest(SimpleTestCase):
    """The real server: gunicorn with our configuration on a database of its own."""

    @classmethod
    def setUpClass(cls) -> None:
        super().setUpClass()
        folder = tempfile.TemporaryDirectory(prefix="portal-server-")
        cls.addClassCleanup(folder.cleanup)
        cls.var = Path(folder.name)
        environ = {
            name: value
            for name, value in os.environ.items()
            if name not in ("DATABASE_URL", "LEGACY_DB", "DJANGO_SETTINGS_MODULE")
        }
        environ |= {"LEGACY_VAR": folder.name, "LEGACY_WORKERS": "1"}
        for command in (("migrate",), ("semear", "--articles", "12")):
            arguments = [sys.executable, "manage.py", *command, "--verbosity", "0"]
            subprocess.run(arguments, cwd=settings.BASE_DIR, env=environ, check=True)
        listener = socket.create_server(("127.0.0.1", 0))
        cls.port = listener.getsockname()[1]
        arguments = [sys.executable, "-m", "gunicorn", "--bind", f"fd://{listener.fileno()}"]
        server = subprocess.Popen(
            [*arguments, "portal.wsgi"],
            cwd=settings.BASE_DIR,
            env=environ,
            pass_fds=[listener.fileno()],
        )
        listener.close()  # the server's copy listens; until it accepts, connections wait there
        cls.addClassCleanup(server.wait)
        cls.addClassCleanup(server.terminate)

    def setUp(self) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        self.addCleanup(self.connection.close)

    def ask(
        self, method: str, url: str, body: object = None, **fields: str
    ) -> tuple[http.client.HTTPResponse, bytes]:
        headers = {name.replace("_", "-"): value for name, value in fields.items()}
        self.connection.request(method, url, body, headers)
        response = self.connection.getresponse()
        return response, response.read()

    def test_one_connection_serves_many_requests(self) -> None:
        used = set()
        for url in (
            "/",
            "/noticia/tiroteio-deixa-um-morto-e-feridos.ghtml",
            "/nada/",
            "/busca?q=a",
        ):
            response, _ = self.ask("GET", url)
            self.assertNotEqual(response.getheader("Connection"), "close")
            used.add(self.connection.sock)
        refused, _ = self.ask("POST", "/conta/entrar/", b"x" * 10_000)  # its body is never read
        self.assertEqual(refused.status, 403)
        used.add(self.connection.sock)
        response, _ = self.ask("GET", "/healthcheck")
        self.assertEqual((response.status, len(used)), (200, 1))

    def test_the_server_itself_does_not_believe_forwarded_fields(self) -> None:
        _, body = self.ask("GET", "/robots.txt", X_Forwarded_Proto="https", X_Forwarded_Host="evil")
        self.assertIn(f"http://127.0.0.1:{self.port}/sitemap.xml".encode(), body)

    def test_a_photo_of_fifty_megabytes(self) -> None:
        login, page = self.ask("GET", "/conta/entrar/")
        cookie = login.getheader("Set-Cookie").split(";")[0]
        token = page.split(b'name="csrfmiddlewaretoken" value="')[1].split(b'"')[0].decode()
        form = f"csrfmiddlewaretoken={token}&username=leitor001&password=leitor-2026"
        kind = "application/x-www-form-urlencoded"
        entered, _ = self.ask("POST", "/conta/entrar/", form, Cookie=cookie, Content_Type=kind)
        self.assertEqual(entered.status, 302)
        values = dict(
            part.split(";")[0].split("=", 1)
            for name, part in entered.getheaders()
            if name == "Set-Cookie"
        )
        image = b"\x89PNG\r\n\x1a\n" + bytes(50 * 1024 * 1024)
        token = values["csrftoken"]
        parts = [("csrfmiddlewaretoken", "", token.encode()), ("title", "", b"Grande")]
        parts.append(("file", '; filename="grande.png"', image))
        body = b"".join(
            f'--cut\r\nContent-Disposition: form-data; name="{name}"{more}\r\n\r\n'.encode()
            + content
            + b"\r\n"
            for name, more, content in parts
        )
        cookies = "; ".join(f"{name}={value}" for name, value in values.items())
        sent, _ = self.ask(
            "POST",
            "/fotos/enviar/",
            body + b"--cut--\r\n",
            Cookie=cookies,
            Content_Type="multipart/form-data; boundary=cut",
        )
        self.assertEqual(sent.status, 302)
        sizes = [file.stat().st_size for file in (self.var / "media/fotos").glob("2*/*/*.png")]
        self.assertEqual(sizes, [len(image)])
