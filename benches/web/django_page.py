"""The page of the bench in Django, for a WSGI server:

REDIS_URL=... ENGINE=cache|codex gunicorn django_page:application

ENGINE=cache is Django's own support for Redis: sessions in its cache, pickled and not signed.
ENGINE=codex is `examples/django`.
"""

import itertools
import os
import sys
from pathlib import Path

from django.conf import settings

sys.path.append(str(Path(__file__).parents[2] / "examples" / "django"))
settings.configure(
    SECRET_KEY="the secret of a bench",
    ALLOWED_HOSTS=["localhost"],
    ROOT_URLCONF=__name__,
    MIDDLEWARE=["django.contrib.sessions.middleware.SessionMiddleware", "django.middleware.common.CommonMiddleware"],
    SESSION_ENGINE={"cache": "django.contrib.sessions.backends.cache", "codex": "codex_sessions"}[os.environ["ENGINE"]],
    CACHES={"default": {"BACKEND": "django.core.cache.backends.redis.RedisCache", "LOCATION": os.environ["REDIS_URL"]}},
    CODEX_REDIS_URL=os.environ["REDIS_URL"],
    CODEX_PROJECT="bench",
    CODEX_PREFIX="django",
    LOGGING_CONFIG=None,
)

from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse  # noqa: E402
from django.urls import path  # noqa: E402


# Each browser has its own user. Two workers may give two browsers the same number.
LOGINS = itertools.count(1)
TEXTS = {
    "_auth_user_backend": "django.contrib.auth.backends.ModelBackend",
    "_auth_user_hash": "c0ffee" * 10 + "c0ff",
    "lang": "en",
    "seen": "2026-01-01T00:00:00",
}


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(request.session["visits"])


def shop(request):
    if "_auth_user_id" not in request.session:
        request.session.cycle_key()
        request.session.update(TEXTS | {"_auth_user_id": str(next(LOGINS)), "cart": [1000 + number * 77 for number in range(12)]})
    return visits(request)


urlpatterns = [path("", visits), path("shop", shop)]
application = get_wsgi_application()
