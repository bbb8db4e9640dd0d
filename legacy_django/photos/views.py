# SPDX-License-Identifier: Apache-2.0
"""See photos and send one."""

from django.contrib import messages
from django.contrib.auth.mixins import LoginRequiredMixin
from django.http import HttpResponse
from django.views.generic import CreateView, DetailView, ListView

from .forms import PhotoForm
from .models import Photo


class PhotoList(ListView):
    queryset = Photo.objects.select_related("user")
    paginate_by = 24
    template_name = "photos/list.html"


class PhotoPage(DetailView):
    queryset = Photo.objects.select_related("user")
    template_name = "photos/photo.html"


class UploadPhoto(LoginRequiredMixin, CreateView):
    form_class = PhotoForm
    template_name = "photos/upload.html"

    def form_valid(self, form: PhotoForm) -> HttpResponse:
        form.instance.user = self.request.user
        messages.success(self.request, "Foto recebida. Obrigado!")
        return super().form_valid(form)

    def form_invalid(self, form: PhotoForm) -> HttpResponse:
        return self.render_to_response(self.get_context_data(form=form), status=422)
