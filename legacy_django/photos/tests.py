# SPDX-License-Identifier: Apache-2.0
"""Photos."""

from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import TestCase, override_settings

from accounts.models import User

from .models import Photo

PNG = b"\x89PNG\r\n\x1a\n" + bytes(64)


class PhotosTest(TestCase):
    @classmethod
    def setUpTestData(cls) -> None:
        cls.user = User.objects.create_user("maria")

    def send(self, name: str, content: bytes) -> object:
        file = SimpleUploadedFile(name, content, "image/png")
        return self.client.post("/fotos/enviar/", {"title": "Serra", "file": file}, follow=True)

    def test_only_readers_with_an_account_send(self) -> None:
        self.assertRedirects(self.send("a.png", PNG), "/conta/entrar/?next=/fotos/enviar/")

    def test_send_see_and_fetch(self) -> None:
        self.client.force_login(self.user)
        page = self.send("../../serra.HTML", PNG)
        photo = Photo.objects.get()
        self.assertRegex(photo.file.name, r"^fotos/\d{4}/\d\d/[0-9a-f]{24}\.png$")
        self.assertContains(page, photo.file.url)
        self.assertContains(self.client.get("/fotos/"), "Serra")
        file = self.client.get(photo.file.url)
        self.assertEqual(b"".join(file.streaming_content), PNG)
        self.assertEqual(file["Content-Type"], "image/png")
        since = {"If-Modified-Since": file["Last-Modified"]}
        self.assertEqual(self.client.get(photo.file.url, headers=since).status_code, 304)

    def test_what_is_no_image_or_too_big(self) -> None:
        self.client.force_login(self.user)
        bad = self.send("a.png", b"<script>alert(1)</script>")
        self.assertContains(bad, "Envie uma imagem", status_code=422)
        with override_settings(PHOTO_MAX_BYTES=10):
            self.assertContains(self.send("a.png", PNG), "o limite é", status_code=422)
        self.assertFalse(Photo.objects.exists())

    def test_media_stays_in_its_folder(self) -> None:
        for path in ("../manage.py", "%2e%2e/manage.py", "fotos/"):
            with self.subTest(path):
                self.assertIn(self.client.get(f"/media/{path}").status_code, (400, 404))
