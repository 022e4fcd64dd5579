"""Next hops for the relay: a scripted one that answers as told and
remembers everything, and aiosmtpd as a real one."""

import base64
import socket
import ssl
import threading

from mailtest import DEADLINE, free_port

DROP = object()     # close the connection without a word
STALL = object()    # not a word, and nothing is read any more


class DropAfter:
    """Close after so many octets of message text."""

    def __init__(self, octets):
        self.octets = octets


class Dropped(Exception):
    pass


class Early:
    """A reply after so many octets of message text, and so many seconds;
    then "close", "read" the rest without another word, or "stall": read no
    more."""

    def __init__(self, octets, reply, then, seconds=0):
        self.octets, self.reply, self.then = octets, reply, then
        self.seconds = seconds


class AfterReply:
    """Answer, then close."""

    def __init__(self, reply):
        self.reply = reply


class Late:
    """Answer after so many seconds."""

    def __init__(self, seconds, reply):
        self.seconds, self.reply = seconds, reply


class Silent:
    """Say that much, or nothing, and then nothing more; the connection stays
    open until the other end closes it."""

    def __init__(self, reply=b""):
        self.reply = reply


class Endless:
    """Such a line each so many seconds."""

    def __init__(self, seconds, line):
        self.seconds, self.line = seconds, line


def busy_socket(test, path):
    """A UNIX socket that listens, and those that wait to be accepted there,
    as many as may."""
    listener = socket.socket(socket.AF_UNIX)
    test.addCleanup(listener.close)
    listener.bind(str(path))
    listener.listen(0)
    waiting = []
    try:
        while True:
            waiting.append(socket.socket(socket.AF_UNIX))
            test.addCleanup(waiting[-1].close)
            waiting[-1].setblocking(False)
            waiting[-1].connect(str(path))
    except BlockingIOError:
        return listener, waiting


class Hush(Exception):
    pass


class Connection:
    """What one connection said."""

    def __init__(self):
        self.commands = []      # lines, text; the AUTH exchange too
        self.logins = []        # (name, password)
        self.bearer = []        # messages of XOAUTH2 and OAUTHBEARER
        self.messages = []      # octets after DATA, the final dot included
        self.lmtp = False
        self.accepted = 0       # recipients of the transaction
        self.secure_from = None  # so many commands came before STARTTLS
        self.ended = None       # "quit", "eof", "dropped", "broken"


class ScriptedHop:
    """A threaded SMTP server.

    script says what to answer at a step: a reply ("550 5.1.1 no"; lines
    parted by newlines make a multi-line one; bytes are sent as they are),
    DROP, STALL, AfterReply, Late, Silent, Endless, or for steps that come
    more than once a list of such.
    Steps: "AUTH PLAIN" and so on, a string said in place of that exchange;
    challenge, octets said after XOAUTH2's or OAUTHBEARER's; connect (before
    TLS; only DROP and Silent), greeting, EHLO, HELO,
    LHLO, STARTTLS, AUTH, MAIL, RCPT, "RCPT address", DATA, text (only
    DropAfter and Early), final, RSET, QUIT.  The default is to accept all.

    After LHLO there is a final for each recipient it accepted (RFC 2033 4.2).

    tls: from the first octet; starttls: offered, where the default list of
    extensions is used; path: a UNIX socket in place of a port.
    """

    DEFAULTS = {
        "greeting": "220 hop.test ESMTP", "HELO": "250 hop.test",
        "STARTTLS": "220 2.0.0 go on",
        "AUTH": "235 2.7.0 welcome", "MAIL": "250 2.1.0 sender fine",
        "RCPT": "250 2.1.5 recipient fine", "DATA": "354 go on",
        "final": "250 2.0.0 hop has it", "RSET": "250 2.0.0 reset",
        "NOOP": "250 2.0.0 fine", "QUIT": "221 2.0.0 bye",
    }

    def __init__(self, test, script=None, *, tls=None, auth="PLAIN LOGIN",
                 extensions=("PIPELINING", "SIZE 50000000", "8BITMIME",
                             "ENHANCEDSTATUSCODES"),
                 bytewise=False, address="127.0.0.1", starttls=None,
                 path=None):
        self.script = {step: list(value) if isinstance(value, list) else value
                       for step, value in (script or {}).items()}
        self.tls, self.auth, self.extensions = tls, auth, extensions
        self.bytewise, self.starttls = bytewise, starttls
        self.connections = []
        if path:
            self.sock = socket.create_server(str(path),
                                             family=socket.AF_UNIX)
            self.port = None
        else:
            self.sock = socket.create_server(
                (address, 0), family=socket.AF_INET6 if ":" in address
                else socket.AF_INET)
            self.port = self.sock.getsockname()[1]
        self.changed = threading.Condition()
        self.open = 0
        self.stopping = False
        self.stalled = threading.Event()    # it says no more
        self.released = threading.Event()
        self.late = self.released.wait      # how Late waits
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()
        test.addCleanup(self.stop)

    # What it got

    @property
    def messages(self):
        return [message for connection in list(self.connections)
                for message in connection.messages]

    @property
    def commands(self):
        return [line for connection in list(self.connections)
                for line in connection.commands]

    def wait_ended(self, seconds=DEADLINE):
        """Wait until no connection is open."""
        with self.changed:
            if not self.changed.wait_for(lambda: self.open == 0, seconds):
                raise AssertionError("a connection to the hop is still open")

    def stop(self):
        self.stopping = True
        self.released.set()
        self.sock.shutdown(socket.SHUT_RDWR)
        self.sock.close()
        self.thread.join(DEADLINE)

    # The server

    def run(self):
        while not self.stopping:
            try:
                client, _ = self.sock.accept()
            except OSError:
                return
            connection = Connection()
            with self.changed:
                self.connections.append(connection)
                self.open += 1
            threading.Thread(target=self.serve, args=(client, connection),
                             daemon=True).start()

    def serve(self, client, connection):
        client.settimeout(DEADLINE)
        try:
            if "connect" in self.script:
                self.answer(client, "connect")
            if self.tls:
                client = self.tls.wrap_socket(client, server_side=True)
            self.answer(client, "greeting")
            while connection.ended is None:
                with client.makefile("rb") as stream:
                    self.dialogue(client, stream, connection)
                if connection.ended == "starttls":
                    connection.ended = None
                    connection.secure_from = len(connection.commands)
                    client = self.starttls.wrap_socket(client,
                                                       server_side=True)
        except Dropped:
            connection.ended = "dropped"
        except Hush:
            connection.ended = self.hear_out(client)
        except (OSError, ssl.SSLError) as error:
            connection.ended = f"broken: {error}"
        finally:
            client.close()
            with self.changed:
                self.open -= 1
                self.changed.notify_all()
            print("hop:", connection.ended, connection.commands)

    def hear_out(self, client):
        """Wait for the end; how it ended."""
        try:
            while client.recv(65536):
                pass
        except (OSError, ssl.SSLError) as error:
            return f"broken: {error}"
        return "eof"

    def dialogue(self, client, stream, connection):
        while connection.ended is None:
            line = stream.readline()
            if not line.endswith(b"\r\n"):
                connection.ended = "eof"
                break
            text = line[:-2].decode("utf-8", "backslashreplace")
            connection.commands.append(text)
            verb = text.split(" ")[0].upper()
            if verb in ("MAIL", "RSET"):
                connection.accepted = 0
            if verb in ("EHLO", "LHLO"):
                connection.lmtp = verb == "LHLO"
                self.answer(client, verb, self.ehlo_reply(
                    self.starttls and connection.secure_from is None))
            elif verb == "STARTTLS" and self.starttls:
                if self.answer(client, verb)[:3] in ("220", b"220"):
                    connection.ended = "starttls"
            elif verb == "AUTH":
                self.login(client, stream, connection, text)
            elif verb == "RCPT":
                address = text.partition("<")[2].partition(">")[0]
                step = f"RCPT {address}"
                reply = self.answer(client, step if step in self.script
                                    else "RCPT")
                connection.accepted += reply[:1] in ("2", b"2")
            elif verb == "DATA":
                if self.answer(client, "DATA")[:3] in ("354", b"354"):
                    self.text(client, stream, connection)
            elif verb == "QUIT":
                self.answer(client, "QUIT")
                connection.ended = "quit"
            elif verb in self.DEFAULTS:
                self.answer(client, verb)
            else:
                self.say(client, "500 5.5.1 what?")

    def ehlo_reply(self, starttls=False):
        more = [f"AUTH {self.auth}"] if self.auth else []
        more += ["STARTTLS"] if starttls else []
        return "250 " + "\n".join(["hop.test", *self.extensions, *more])

    def answer(self, client, step, default=None):
        reply = self.script.get(step, default or self.DEFAULTS.get(
            step.split(" ")[0]))
        if isinstance(reply, list):
            reply = reply.pop(0) if len(reply) > 1 else reply[0]
        if reply is STALL:
            self.stalled.set()
            self.released.wait(DEADLINE)
        if reply in (DROP, STALL):
            raise Dropped
        if isinstance(reply, AfterReply):
            self.say(client, reply.reply)
            raise Dropped
        if isinstance(reply, Silent):
            self.say(client, reply.reply)
            self.stalled.set()
            raise Hush
        if isinstance(reply, Endless):
            self.stalled.set()
            while not self.released.wait(reply.seconds):
                self.say(client, reply.line)
            raise Dropped
        if isinstance(reply, Late):
            self.late(reply.seconds)
            reply = reply.reply
        if reply is not None:
            self.say(client, reply)
        return reply

    def say(self, client, reply):
        data = reply if isinstance(reply, bytes) else self.lines(reply)
        step = 1 if self.bytewise else len(data) or 1
        for start in range(0, len(data), step):
            client.sendall(data[start:start + step])

    @staticmethod
    def lines(reply):
        code, texts = reply[:3], reply[4:].split("\n")
        return "".join(
            f"{code}{'-' if i < len(texts) - 1 else ' '}{text}\r\n"
            for i, text in enumerate(texts)).encode()

    def login(self, client, stream, connection, text):
        """Takes the exchange of every mechanism there is a step for, "AUTH
        PLAIN" and so on, or that is offered."""
        words = text.split(" ")
        mechanism = words[1].upper()

        def ask(prompt=b""):
            self.say(client, f"334 {base64.b64encode(prompt).decode()}")
            line = stream.readline()[:-2].decode()
            connection.commands.append(line)
            return base64.b64decode(line).decode()

        def first(prompt=b""):
            return (base64.b64decode(words[2]).decode() if len(words) > 2
                    else ask(prompt))

        step = f"AUTH {mechanism}"
        if step not in self.script and mechanism not in self.auth.split():
            self.say(client, "504 5.5.4 not that one")
            return
        if isinstance(self.script.get(step), str):
            self.answer(client, step)
            return
        if mechanism == "PLAIN":
            _, name, password = first().split("\0")
        elif mechanism == "LOGIN":
            name, password = first(b"Username:"), ask(b"Password:")
        else:
            message = first()
            pairs = dict(part.split("=", 1) for part in message.split("\1")
                         if "=" in part)
            connection.bearer.append(message)
            name = pairs.get("user") or message[4:].partition(",")[0]
            password = pairs["auth"].removeprefix("Bearer ")
        connection.logins.append((name, password))
        challenge = self.script.get("challenge")
        if challenge is not None and mechanism not in ("PLAIN", "LOGIN"):
            connection.bearer.append(ask(challenge))
        self.answer(client, "AUTH")

    def text(self, client, stream, connection):
        stop = self.script.get("text")
        data = bytearray()
        while not data.endswith(b"\r\n.\r\n") and data != b".\r\n":
            line = stream.readline(65536)
            if not line:
                connection.ended = "eof"
                return
            data += line
            if isinstance(stop, DropAfter) and len(data) >= stop.octets:
                raise Dropped
            if isinstance(stop, Early) and len(data) >= stop.octets:
                self.speak_early(client, stop)
                stop = None
        connection.messages.append(bytes(data))
        for _ in range(connection.accepted if connection.lmtp else 1):
            self.answer(client, "final")

    def speak_early(self, client, early):
        del self.script["text"]     # the next one is let in peace
        self.released.wait(early.seconds)
        self.say(client, early.reply)
        if early.then == "close":
            raise Dropped
        if early.then == "stall":
            self.stalled.set()
            self.released.wait(DEADLINE)
            raise Dropped


class RealHop:
    """aiosmtpd with implicit TLS and AUTH required.  What it kept is in
    messages as (sender, recipients, octets)."""

    def __init__(self, test, context, logins):
        from aiosmtpd.controller import Controller
        from aiosmtpd.smtp import AuthResult

        hop = self
        self.messages = []

        class Handler:
            async def handle_RCPT(self, server, session, envelope, address,
                                  options):
                if address.startswith("nobody@"):
                    return "550 5.1.1 no such user here"
                envelope.rcpt_tos.append(address)
                return "250 2.1.5 fine"

            async def handle_DATA(self, server, session, envelope):
                hop.messages.append((envelope.mail_from,
                                     list(envelope.rcpt_tos),
                                     envelope.original_content))
                return "250 2.0.0 kept"

        def check(server, session, envelope, mechanism, data):
            pair = (data.login.decode(), data.password.decode())
            # Not handled: aiosmtpd has to send the 535
            return AuthResult(success=pair in logins, handled=False)

        self.port = free_port()
        self.controller = Controller(
            Handler(), hostname="127.0.0.1", port=self.port,
            ssl_context=context, authenticator=check, auth_required=True,
            auth_require_tls=False)
        self.controller.start()
        test.addCleanup(self.controller.stop)


def closed_port():
    """A port of 127.0.0.1 where nobody listens, and nobody will for now:
    bound, but not listening.  Keep the socket."""
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    return sock, sock.getsockname()[1]
