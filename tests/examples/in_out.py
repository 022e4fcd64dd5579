#!/usr/bin/python3
"""Mail in by SMTP and out by POP3, in asyncio, by ctypes; and logins whose
answers take their time, as a database's would.

    in_out.py LIBRARY CERTIFICATE KEY SMTP-PORT SMTPS-PORT POP3-PORT POP3S-PORT
"""

import asyncio
import ctypes as C
import ctypes.util
import signal
import socket
import sys


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


SMTP, POP3 = 0, 2
OFFER_TLS, IMPLICIT_TLS, OFFER_LOGIN, OFFER_CLEAR_LOGIN = 1, 2, 4, 8
CLOSED, LOGIN, MESSAGE, UIDL, RETRIEVE = 0, 4, 9, 12, 13
WRONG = 0


def declare(path):
    library = C.CDLL(path)
    for name, result, *arguments in (
            ("server_new", C.c_void_p),
            ("server_listen", C.c_int, C.c_void_p, C.c_int,
             C.POINTER(Options), C.c_void_p),
            ("server_wait", C.POINTER(Event), C.c_void_p, C.c_int),
            ("server_fd", C.c_int, C.c_void_p),
            ("server_stop", None, C.c_void_p),
            ("server_free", None, C.c_void_p),
            ("accept", C.c_int, C.c_void_p),
            ("refuse", C.c_int, C.c_void_p, C.c_int, C.c_char_p),
            ("maildrop", C.c_int, C.c_void_p, C.POINTER(C.c_uint64),
             C.c_size_t),
            ("measure", C.c_uint64, C.c_char_p, C.c_size_t),
            ("uidl", C.c_int, C.c_void_p, C.c_char_p),
            ("send", C.c_size_t, C.c_void_p, C.c_char_p, C.c_size_t),
            ("sent", C.c_int, C.c_void_p, C.c_bool)):
        function = getattr(library, "mh_" + name)
        function.restype, function.argtypes = result, arguments
    return library


def server_tls(certificate, key):
    """A context of tls_server(3), by the same libtls."""
    tls = C.CDLL(ctypes.util.find_library("tls"))
    for name in "tls_config_new", "tls_server":
        getattr(tls, name).restype = C.c_void_p
    config, context = (C.c_void_p(tls.tls_config_new()),
                       C.c_void_p(tls.tls_server()))
    if (tls.tls_config_set_keypair_file(config, certificate.encode(),
                                        key.encode()) != 0 or
            tls.tls_configure(context, config) != 0):
        raise SystemExit("no TLS with this certificate and key")
    return context


class Application:
    def __init__(self, library, tls, ports):
        self.mh = library
        self.server = library.mh_server_new()
        self.mails = []
        self.drops = {}             # of sessions: the array, octets sent
        for i, port in enumerate(ports):
            options = Options(C.sizeof(Options), POP3 if i > 1 else SMTP,
                              IMPLICIT_TLS | OFFER_LOGIN if i % 2
                              else OFFER_TLS | OFFER_CLEAR_LOGIN,
                              b"mail.example")
            listening = socket.create_server(("127.0.0.1", int(port)),
                                             backlog=4096)
            if self.mh.mh_server_listen(self.server, listening.detach(),
                                        C.byref(options), tls):
                raise SystemExit("listen")

    async def log_in(self, session, password):
        await asyncio.sleep(0.05)   # a database, say
        octets = (C.c_uint64 * len(self.mails))(
            *(self.mh.mh_measure(mail, len(mail)) for mail in self.mails))
        self.drops[session] = [octets, 0]
        if password != b"secret":
            self.mh.mh_refuse(session, WRONG, None)
        elif self.mh.mh_maildrop(session, octets, len(octets)) < 0:
            self.mh.mh_accept(session)      # SMTP has no maildrop
        # Its loop is woken by the descriptor: nothing else to do here

    def retrieve(self, session, i):
        drop, mail = self.drops[session], self.mails[i]
        drop[1] += self.mh.mh_send(session, mail[drop[1]:],
                                   len(mail) - drop[1])
        if drop[1] == len(mail):
            drop[1] = 0
            self.mh.mh_sent(session, True)

    def serve(self, event):
        session = event.session
        if event.type == LOGIN:
            asyncio.ensure_future(self.log_in(session,
                                              bytes(event.password)))
        elif event.type == MESSAGE:
            self.mails.append(bytes(event.text))
            self.mh.mh_accept(session)
        elif event.type == UIDL:
            self.mh.mh_uidl(session, b"m%d" % event.index)
        elif event.type == RETRIEVE:
            self.retrieve(session, event.index)
        elif event.type == CLOSED:
            self.drops.pop(session, None)
        else:
            self.mh.mh_accept(session)

    def ready(self):
        while event := self.mh.mh_server_wait(self.server, 0):
            self.serve(event[0])

    async def run(self):
        loop = asyncio.get_running_loop()
        stop = asyncio.Event()
        loop.add_signal_handler(signal.SIGTERM, stop.set)
        fd = self.mh.mh_server_fd(self.server)
        loop.add_reader(fd, self.ready)
        await stop.wait()
        loop.remove_reader(fd)
        self.mh.mh_server_stop(self.server)
        while event := self.mh.mh_server_wait(self.server, -1):
            self.serve(event[0])
        self.mh.mh_server_free(self.server)


asyncio.run(Application(declare(sys.argv[1]),
                        server_tls(sys.argv[2], sys.argv[3]),
                        sys.argv[4:8]).run())
