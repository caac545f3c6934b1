"""Runs calls on Django's cache with JSON values, and prints the answers.

The calls are read from standard input, one JSON list a line.
"""

import json
import sys

import django
from django.conf import settings


class Json:
    """Stores what the original does: integers as they are, for INCR, and the rest as compact JSON."""

    def dumps(self, value):
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()

    def loads(self, data):
        return json.loads(data)


settings.configure(
    CACHES={
        "default": {
            "BACKEND": "django.core.cache.backends.redis.RedisCache",
            "LOCATION": sys.argv[1],
            "KEY_PREFIX": "python",
            "TIMEOUT": 300,
            "OPTIONS": {"serializer": Json()},
        }
    }
)
django.setup()

from django.core.cache import cache  # noqa: E402
from redis.exceptions import ResponseError  # noqa: E402

MISSING = object()


def answer(verb, arguments):
    if verb == "get":
        value = cache.get(arguments[0], MISSING)
        return ["miss"] if value is MISSING else ["hit", value]
    if verb in ("delete_many", "set_many", "set"):
        getattr(cache, verb)(*arguments)
        return None
    return getattr(cache, verb)(*arguments)


for line in sys.stdin:
    verb, *arguments = json.loads(line)
    try:
        result = answer(verb, arguments)
    except ValueError:
        result = {"error": "missing"}
    except ResponseError:
        result = {"error": "not an integer"}
    print(json.dumps(result))
