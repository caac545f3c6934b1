"""A small Django project whose sessions codex-kv shares.

Prints a line of JSON when it serves: its port, its Django version, and each user's primary key and stored
password. Ends when its standard input ends.

    REDIS_URL=redis://127.0.0.1:6379/0 SECRET_KEY=... python service.py
"""

import json
import os
import sys
import threading
import time
from datetime import datetime, timedelta, timezone
from wsgiref.simple_server import WSGIRequestHandler, make_server

import django
from django.conf import settings

settings.configure(
    SECRET_KEY=os.environ["SECRET_KEY"],
    ALLOWED_HOSTS=["127.0.0.1", "localhost"],
    ROOT_URLCONF=__name__,
    INSTALLED_APPS=["django.contrib.auth", "django.contrib.contenttypes", "django.contrib.sessions"],
    MIDDLEWARE=[
        "django.contrib.sessions.middleware.SessionMiddleware",
        "django.contrib.auth.middleware.AuthenticationMiddleware",
    ],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
    SESSION_ENGINE="codex_sessions",
    CODEX_REDIS_URL=os.environ["REDIS_URL"],
    CODEX_PROJECT=os.environ.get("CODEX_PROJECT", "shop"),
    CODEX_PREFIX=os.environ.get("CODEX_PREFIX", "session"),
    USE_TZ=True,
)
django.setup()

import codex_sessions  # noqa: E402
import django.utils.timezone  # noqa: E402
from django.contrib.auth import authenticate, get_user_model, login, logout  # noqa: E402
from django.core.management import call_command  # noqa: E402
from django.core.wsgi import get_wsgi_application  # noqa: E402
from django.http import HttpResponse, HttpResponseForbidden  # noqa: E402
from django.urls import path  # noqa: E402


def whoami(request):
    return HttpResponse(request.user.get_username() or "anonymous")


def log_in(request, username, password):
    user = authenticate(request, username=username, password=password)
    if user is None:
        return HttpResponseForbidden("wrong")
    login(request, user)
    return HttpResponse("in")


def log_out(request):
    logout(request)
    return HttpResponse("out")


def read(request, name):
    return HttpResponse(json.dumps(request.session.get(name)))


def write(request, name):
    request.session[name] = json.loads(request.body)
    return HttpResponse("written")


def remove(request, name):
    del request.session[name]
    return HttpResponse("removed")


def cycle(request):
    request.session.cycle_key()
    return HttpResponse("cycled")


def expire(request, seconds):
    request.session.set_expiry(seconds)
    return HttpResponse("set")


def expire_in(request, seconds):
    # A date: `now` has an offset only with USE_TZ.
    request.session.set_expiry(django.utils.timezone.now() + timedelta(seconds=int(seconds)))
    return HttpResponse("set")


def configure(request, use_tz, zone, browser_close):
    """Changes the settings of the project, and returns the offset of its clock from UTC in hours."""
    settings.USE_TZ = use_tz == 1
    settings.TIME_ZONE = zone.replace("-", "/")
    settings.SESSION_EXPIRE_AT_BROWSER_CLOSE = browser_close == 1
    django.utils.timezone.get_default_timezone.cache_clear()
    # Django does the same when it reads its settings.
    os.environ["TZ"] = settings.TIME_ZONE
    time.tzset()
    offset = datetime.now() - datetime.now(timezone.utc).replace(tzinfo=None)
    return HttpResponse(f"{round(offset.total_seconds() / 900) / 4:+g}")


def age(request):
    return HttpResponse(f"{request.session.get_expiry_age()} {request.session.get_expire_at_browser_close()}")


def revoke(request):
    codex_sessions.revoke_all(request.user.pk)
    return HttpResponse("revoked")


urlpatterns = [
    path("whoami", whoami),
    path("login/<username>/<password>", log_in),
    path("logout", log_out),
    path("read/<name>", read),
    path("write/<name>", write),
    path("remove/<name>", remove),
    path("cycle", cycle),
    path("expire/<int:seconds>", expire),
    path("expire-in/<seconds>", expire_in),
    path("configure/<int:use_tz>/<zone>/<int:browser_close>", configure),
    path("age", age),
    path("revoke", revoke),
]


class Quiet(WSGIRequestHandler):
    def log_message(self, *args):
        pass


def end_with_parent():
    sys.stdin.read()
    os._exit(0)


def main():
    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    created = [users.create_user(name, password=f"{name}-password") for name in ("ada", "bob")]
    server = make_server("127.0.0.1", int(os.environ.get("PORT", "0")), get_wsgi_application(), handler_class=Quiet)
    about = {user.username: {"pk": str(user.pk), "password": user.password} for user in created}
    print(json.dumps({"port": server.server_port, "django": django.get_version(), "users": about}), flush=True)
    threading.Thread(target=end_with_parent, daemon=True).start()
    server.serve_forever()


if __name__ == "__main__":
    main()
