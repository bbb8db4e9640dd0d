# SPDX-License-Identifier: Apache-2.0
"""What every environment shares. The README lists the environment variables."""

import os
from pathlib import Path

from . import env

BASE_DIR = Path(__file__).resolve().parents[2]
VAR_DIR = Path(os.environ.get("LEGACY_VAR") or BASE_DIR.parent / "var")

DEBUG = False
ALLOWED_HOSTS = env.items("ALLOWED_HOSTS", "localhost,127.0.0.1,[::1],www.example.com,testserver")
CSRF_TRUSTED_ORIGINS = env.items("CSRF_TRUSTED_ORIGINS")
# Only behind a proxy that always sets or removes the field: anyone else could forge it.
if env.flag("TRUST_X_FORWARDED_PROTO"):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")

INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.sitemaps",
    "whitenoise.runserver_nostatic",
    "django.contrib.staticfiles",
    "portal",
    "accounts",
    "articles",
    "comments",
    "polls",
    "photos",
    "search",
    "help",
    "health",
    "api",
    "seeding",
]

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

ROOT_URLCONF = "portal.urls"
WSGI_APPLICATION = "portal.wsgi.application"

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]

DATABASES = {
    "default": env.database(
        os.environ.get("DATABASE_URL", ""),
        Path(os.environ.get("LEGACY_DB") or VAR_DIR / "legacy.sqlite3"),
    )
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {
    "default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache", "LOCATION": "portal"}
}

AUTH_USER_MODEL = "accounts.User"
LOGIN_URL = "accounts:login"
LOGIN_REDIRECT_URL = "accounts:profile"
LOGOUT_REDIRECT_URL = "articles:front"
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]

LANGUAGE_CODE = "pt-br"
LANGUAGES = [("pt-br", "Português"), ("en", "English"), ("es", "Español")]
TIME_ZONE = "America/Sao_Paulo"
USE_I18N = True
USE_TZ = True

APPEND_SLASH = True
X_FRAME_OPTIONS = "DENY"

STATIC_URL = "/static/"
STATIC_ROOT = VAR_DIR / "static"
STATIC_ROOT.mkdir(parents=True, exist_ok=True)  # whitenoise warns of an absent one
WHITENOISE_USE_FINDERS = True  # serves the apps' own files; `collectstatic` stays optional
MEDIA_URL = "/media/"
MEDIA_ROOT = VAR_DIR / "media"
PHOTO_MAX_BYTES = 64 * 1024 * 1024
FILE_UPLOAD_TEMP_DIR = VAR_DIR / "uploads"  # beside the media: a finished upload is only renamed
FILE_UPLOAD_TEMP_DIR.mkdir(parents=True, exist_ok=True)
FILE_UPLOAD_PERMISSIONS = 0o644

# Who hears of a published article, and the token that they and we present.
PUBLISH_HOOKS = env.items("PUBLISH_HOOKS")
PUBLISH_TOKEN = os.environ.get("PUBLISH_TOKEN", "")
# The edge's cache, told by edge_purge of what has changed.
EDGE_PURGE_URL = os.environ.get("EDGE_PURGE_URL", "")
EDGE_PURGE_TOKEN = os.environ.get("EDGE_PURGE_TOKEN", "")
EDGE_PURGE_SITES = env.items("EDGE_PURGE_SITES")
API_TOKEN = os.environ.get("API_TOKEN", "")

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"format": "{asctime} {levelname} {name} {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "django": {"handlers": ["stderr"], "level": "WARNING", "propagate": False},
        "django.request": {"level": "ERROR"},  # a wrong address is the reader's affair
        "articles": {"level": "INFO"},
        "edge_purge": {"level": "INFO"},
    },
}
