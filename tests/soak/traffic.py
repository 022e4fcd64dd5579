"""Clients that submit messages and fetch them, and the account that is kept of
every one: accepted, fetched, or nobody knows."""

import collections
import contextlib
import poplib
import smtplib
import threading

USERS = 20
LIMIT = 60              # seconds that a client waits for anything
RETRIES = (OSError, EOFError, smtplib.SMTPException, poplib.error_proto)


class Traffic:
    """Implicit TLS at these ports of localhost; any of u0, u1 ... logs in
    with the password."""

    def __init__(self, smtp_port, pop3_port, context, password):
        self.smtp_port, self.pop3_port = smtp_port, pop3_port
        self.context, self.password = context, password
        self.lock = threading.Lock()
        self.number = 0
        self.accepted = set()       # what 250 was said to
        self.unknown = set()        # whose 250 may have been lost
        self.fetched = collections.Counter()
        self.maybe = set()          # fetched, and QUIT's +OK may be lost

    def new_token(self):
        with self.lock:
            self.number += 1
            return f"token-{self.number}"

    def submit(self, draw, most=3):
        """A session with one message, or a few; raises one of RETRIES."""
        with smtplib.SMTP_SSL("localhost", self.smtp_port, timeout=LIMIT,
                              context=self.context) as client:
            client.login(f"u{draw.randrange(USERS)}", self.password)
            for _ in range(draw.choice((1, 1, 1, most))):
                self.submit_one(client, draw)

    def submit_one(self, client, draw):
        token = self.new_token()
        text = (f"Subject: {token}\r\n\r\n" + "x" * 70 + "\r\n.dot\r\n"
                + "body\r\n" * draw.choice((1, 50, 3000)))
        with self.lock:
            self.unknown.add(token)
        client.sendmail("a@b.test", [f"u{draw.randrange(USERS)}@mail.test"],
                        text)
        with self.lock:
            self.unknown.discard(token)
            self.accepted.add(token)

    def fetch(self, user):
        """All of a mailbox, then gone; QUIT's +OK is what removes.  How many,
        or None where another session has the mailbox."""
        client = poplib.POP3_SSL("localhost", self.pop3_port, timeout=LIMIT,
                                 context=self.context)
        found, removed = [], False
        try:
            client.user(f"u{user}")
            try:
                client.pass_(self.password)
            except poplib.error_proto as error:
                if b"IN-USE" in error.args[0]:
                    return None
                raise
            for number in range(1, client.stat()[0] + 1):
                lines = client.retr(number)[1]
                subject = [line for line in lines
                           if line.startswith(b"Subject: ")]
                found.append(subject[0][9:].decode())
                client.dele(number)
            client.quit()
            removed = True
        finally:
            with self.lock:
                if removed:
                    self.fetched.update(found)
                else:
                    self.maybe.update(found)
            # Of a connection that is broken, closing fails too.
            with contextlib.suppress(OSError):
                client.close()
        return len(found)

    def wrong(self):
        """After the last fetch of every mailbox: what became of messages that
        should not."""
        lost = [token for token in self.accepted
                if not self.fetched[token] and token not in self.maybe]
        twice = [token for token, n in self.fetched.items() if n > 1]
        known = self.accepted | self.unknown
        foreign = [token for token in self.fetched if token not in known]
        return [f"{len(tokens)} messages {what}: {tokens[:5]}"
                for what, tokens in (("lost", lost), ("fetched twice", twice),
                                     ("never accepted", foreign)) if tokens]

    def __str__(self):
        return (f"{len(self.accepted)} accepted, {len(self.unknown)} unknown, "
                f"{sum(self.fetched.values())} fetched")
