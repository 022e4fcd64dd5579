"""libmailhandlers by ctypes, for tests that are the program around it."""

import ctypes as C
import socket
import threading

from embedded import sanitized, shared_library
from mailtest import DEADLINE

SMTP, LMTP, POP3 = range(3)
OFFER_TLS, IMPLICIT_TLS, OFFER_LOGIN, OFFER_CLEAR_LOGIN = 1, 2, 4, 8
REQUIRE_LOGIN, OFFER_DELETE, OFFER_DSN, STREAM = 16, 32, 64, 128
OFFER_TOKENS = 1024
(CLOSED, IO, TLS, CONNECT, LOGIN, SENDER, RECIPIENT, BEGIN, DATA, MESSAGE,
 RESET, NOTE, UIDL, RETRIEVE, UPDATE) = range(15)
WRONG, UNKNOWN, FORBIDDEN, FULL, BUSY, LATER = range(6)
(HELO, USER, MECHANISM, REVERSE_PATH, ENVID, PEER, TLS_VERSION, TLS_CIPHER,
 PROTOCOL) = range(9)


class Text(C.Structure):
    _fields_ = [("data", C.c_void_p), ("len", C.c_size_t)]

    def __bytes__(self):
        return C.string_at(self.data, self.len) if self.len else b""


class Event(C.Structure):
    _fields_ = [("type", C.c_int), ("session", C.c_void_p),
                ("address", Text), ("user", Text), ("password", Text),
                ("text", Text), ("index", C.c_size_t)]


class Options(C.Structure):
    _fields_ = [("size", C.c_size_t), ("protocol", C.c_int),
                ("flags", C.c_uint), ("hostname", C.c_char_p),
                ("max_size", C.c_uint64), ("max_recipients", C.c_uint),
                ("timeout", C.c_uint)]


P, I, U, S, Z = C.c_void_p, C.c_int, C.c_uint, C.c_char_p, C.c_size_t
FUNCTIONS = {
    "server_new": (P,), "server_wait": (C.POINTER(Event), P, I),
    "server_listen": (I, P, I, C.POINTER(Options), P),
    "server_adopt": (I, P, I, C.POINTER(Options), P),
    "server_fd": (I, P), "server_stop": (None, P), "server_free": (None, P),
    "accept": (I, P), "refuse": (I, P, I, S), "reply": (I, P, U, S, S),
    "drop": (None, P), "get": (Text, P, I), "recipients": (Z, P),
    "recipient": (Text, P, Z), "maildrop": (I, P, C.POINTER(C.c_uint64), Z),
    "received": (Z, P, S, C.c_int64, P, Z),
    "measure": (C.c_uint64, S, Z), "uidl": (I, P, S), "send": (Z, P, S, Z),
    "sent": (I, P, C.c_bool), "is_deleted": (C.c_bool, P, Z),
}


class Library:
    """Its functions without mh_."""

    def __init__(self):
        library = C.CDLL(str(shared_library()), use_errno=True)
        for name, (result, *arguments) in FUNCTIONS.items():
            function = getattr(library, f"mh_{name}")
            function.restype, function.argtypes = result, arguments
            setattr(self, name, function)

    def recipients_of(self, session):
        return [bytes(self.recipient(session, i))
                for i in range(self.recipients(session))]


class Server:
    """A server in this process, and what the program around it does with
    each event: handler(mh, event) answers, or returns True for the usual
    answer."""

    def __init__(self, test, handler):
        if sanitized():
            test.skipTest("Python does not load a library with sanitizers")
        self.mh = Library()
        self.server = self.mh.server_new()
        self.handler = handler
        self.strings = []
        self.failure = None
        test.addCleanup(self.mh.server_free, self.server)

    def options(self, protocol, flags, hostname, **more):
        self.strings.append(hostname)
        return Options(C.sizeof(Options), protocol, flags, hostname, **more)

    def listen(self, protocol=SMTP, flags=0, hostname=b"mail.example",
               **more):
        """The port."""
        listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        port = listening.getsockname()[1]
        assert self.mh.server_listen(
            self.server, listening.detach(),
            C.byref(self.options(protocol, flags, hostname, **more)),
            None) == 0
        return port

    def adopt(self, sock, protocol=SMTP, flags=0, hostname=b"mail.example",
              **more):
        return self.mh.server_adopt(
            self.server, sock.detach(),
            C.byref(self.options(protocol, flags, hostname, **more)), None)

    def turn(self, ms=0):
        """One event, if there is one; its type."""
        event = self.mh.server_wait(self.server, ms)
        if not event:
            return None
        kind = event[0].type
        if self.handler(self.mh, event[0]):
            self.mh.accept(event[0].session)
        return kind

    def run(self, client, *arguments):
        """Serves as long as client(*arguments) runs, in a thread; what it
        returned."""
        result = []
        self.failure = None

        def thread():
            try:
                result.append(client(*arguments))
            except BaseException as failure:    # for the test, below
                self.failure = failure
        running = threading.Thread(target=thread, daemon=True)
        running.start()
        while running.is_alive():
            self.turn(20)
        running.join(DEADLINE)
        while self.turn() is not None:
            pass
        if self.failure:
            raise self.failure
        return result[0]
