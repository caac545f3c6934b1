"""The page of the bench in Django, for a WSGI server: REDIS_URL=... ENGINE=cache|codex gunicorn django_page:application

ENGINE=cache is what Django itself has for Redis: sessions in its cache, pickled and not signed. ENGINE=codex is `examples/django`.
"""

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


def visits(request):
    request.session["visits"] = request.session.get("visits", 0) + 1
    return HttpResponse(request.session["visits"])


urlpatterns = [path("", visits)]
application = get_wsgi_application()
