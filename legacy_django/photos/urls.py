# SPDX-License-Identifier: Apache-2.0
"""The addresses of photos."""

from django.urls import path

from . import views

app_name = "photos"
urlpatterns = [
    path("fotos/", views.PhotoList.as_view(), name="list"),
    path("fotos/enviar/", views.UploadPhoto.as_view(), name="upload"),
    path("fotos/<int:pk>/", views.PhotoPage.as_view(), name="photo"),
]
