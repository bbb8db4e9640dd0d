# SPDX-License-Identifier: Apache-2.0
"""The upload form. A file is what its first bytes say, whatever name and type came with it."""

from django import forms
from django.conf import settings
from django.core.exceptions import ValidationError
from django.core.files.uploadedfile import UploadedFile
from django.template.defaultfilters import filesizeformat

from .models import Photo

SIGNATURES = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
)


def suffix_of(head: bytes) -> str | None:
    """Return the file suffix that belongs to an image's first 16 bytes, or None."""
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    return next((suffix for start, suffix in SIGNATURES if head.startswith(start)), None)


class PhotoForm(forms.ModelForm):
    class Meta:
        model = Photo
        fields = ("title", "caption", "file")
        widgets = {
            "caption": forms.Textarea(attrs={"rows": 3}),
            "file": forms.FileInput(attrs={"accept": "image/jpeg,image/png,image/gif,image/webp"}),
        }

    def clean_file(self) -> UploadedFile:
        """Refuse what is too big or no image, and name the rest by what it is."""
        file = self.cleaned_data["file"]
        if file.size > settings.PHOTO_MAX_BYTES:
            most = filesizeformat(settings.PHOTO_MAX_BYTES)
            raise ValidationError(f"A foto tem {filesizeformat(file.size)}; o limite é {most}.")
        suffix = suffix_of(file.read(16))
        file.seek(0)
        if suffix is None:
            raise ValidationError("Envie uma imagem JPEG, PNG, GIF ou WebP.")
        file.name = f"foto{suffix}"
        self.instance.size = file.size
        return file
