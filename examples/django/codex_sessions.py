"""A session engine for Django with the records of codex-kv: SESSION_ENGINE = "codex_sessions".

The record of a session is `{project}:{prefix}:{session key}`. Its value is the result of Django's
`SessionBase.encode`: signed, and compressed if that makes it shorter. Its TTL is the expiry age.
"""

import time

import redis
from django.conf import settings
from django.contrib.auth import SESSION_KEY
from django.contrib.auth.signals import user_logged_in
from django.contrib.sessions.backends.base import CreateError, SessionBase, UpdateError
from django.dispatch import receiver

server = redis.Redis.from_url(settings.CODEX_REDIS_URL)

# The session's entry for the time of the login, for the idle and absolute timeouts of codex-kv.
LOGIN = "_codex_login"
# The session's entry for the user's generation at login, which `revoke_all` changes.
GENERATION = "_codex_generation"


def joined(*segments):
    return ":".join(segment for segment in segments if segment)


def record(session_key):
    return joined(settings.CODEX_PROJECT, settings.CODEX_PREFIX, session_key)


def generation_record(user):
    prefix = f"{settings.CODEX_PREFIX}-generation" if settings.CODEX_PREFIX else "generation"
    return joined(settings.CODEX_PROJECT, prefix, str(user))


def generation(user):
    value = server.get(generation_record(user))
    return None if value is None else value.decode()


def revoke_all(user):
    """Ends all sessions of a user, here and in codex-kv, in one step."""
    server.set(generation_record(user), SessionStore()._get_new_session_key())


@receiver(user_logged_in)
def stamp(sender, request, user, **kwargs):
    # After the first revoke_all, codex-kv accepts only sessions with the user's generation.
    request.session[LOGIN] = {"id": SessionStore()._get_new_session_key(), "at": int(time.time() * 1000)}
    current = generation(request.session[SESSION_KEY])
    if current is None:
        request.session.pop(GENERATION, None)
    else:
        request.session[GENERATION] = current


class SessionStore(SessionBase):
    # The class has to be called SessionStore: Django derives the signing salt from its name.

    def load(self):
        payload = server.get(record(self.session_key)) if self.session_key else None
        data = self.decode(payload.decode()) if payload else {}
        user = data.get(SESSION_KEY)
        if not payload or (user is not None and data.get(GENERATION) != generation(user)):
            self._session_key = None
            return {}
        return data

    def exists(self, session_key):
        return bool(server.exists(record(session_key)))

    def create(self):
        while True:
            self._session_key = self._get_new_session_key()
            try:
                self.save(must_create=True)
            except CreateError:
                continue
            self.modified = True
            return

    def save(self, must_create=False):
        if self.session_key is None:
            return self.create()
        payload = self.encode(self._get_session(no_load=must_create))
        age = self.get_expiry_age()
        if age <= 0:
            return self.delete()
        # SET XX: a session that was ended elsewhere is not restored.
        written = server.set(record(self.session_key), payload, ex=age, nx=must_create, xx=not must_create)
        if not written:
            raise CreateError if must_create else UpdateError

    def delete(self, session_key=None):
        session_key = session_key or self.session_key
        if session_key:
            server.delete(record(session_key))

    @classmethod
    def clear_expired(cls):
        """Does nothing, because Redis removes expired records itself."""
