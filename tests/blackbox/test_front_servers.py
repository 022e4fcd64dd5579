"""The super-servers' configurations in units/, as `make` fills them in and as
they are, under the real programs: in a network and with files of their own
(see frontdoor.Network), with the samples of the configuration files.
README.md, Who starts them."""

import os
import pathlib
import re
import subprocess

import superservers
from frontdoor import (BOTH, HELPERS, KIND, RIGHT, WRONG, FrontDoor, Haproxy,
                       InNetwork, Network, Stunnel, hash_of, offers,
                       start_tls, try_login)
from mailtest import (BUILD, POP3, ROOT, SMTP, TOOLS, SmtpPeer,
                      clean_environment, wait_for)
from superservers import tool, tool_environment

UNITS = BUILD / "units"
USER, PASSWORD = "joe@example.com", "secret pw"
PORTS = {SMTP: 465, POP3: 995}


class Xinetd(InNetwork):
    """argv is the text of its services."""

    def command(self, text):
        config = self.test.fresh_path("xinetd.conf")
        config.write_text(text)
        return self.inner([tool("xinetd", "xinetd"), "-dontfork", "-f",
                           config, "-pidfile", self.test.fresh_path("pid")])

    def environ(self, env):
        return tool_environment("xinetd", env)


class Inetd(InNetwork):
    """argv is inetd.conf."""

    def command(self, text):
        config = self.test.fresh_path("inetd.conf")
        config.write_text(text)
        return self.inner([tool("openbsd-inetd", "inetd"), "-i", config])

    def environ(self, env):
        return tool_environment("openbsd-inetd", env)


class Services(InNetwork):
    """argv is a folder of services as svscan knows them."""

    package, server = "", ""

    def command(self, folder):
        return self.inner([tool(self.package, self.server), folder])

    def environ(self, env):
        found = tool_environment(self.package, env)
        found["PATH"] = f"/usr/local/bin:{found['PATH']}:/usr/sbin:/sbin"
        return found


class Daemontools(Services):
    package, server = "daemontools", "svscan"


class Daemontools6(Daemontools):
    """With the tcpserver that speaks IPv6."""

    def environ(self, env):
        found = super().environ(env)
        found["PATH"] = f"{TOOLS / 'ucspi-tcp-ipv6/usr/bin'}:{found['PATH']}"
        return found


class S6(Services):
    def command(self, folder):
        return self.inner(["s6-svscan", folder])

    def environ(self, env):
        return clean_environment(env)

    def wait_ready(self):
        """For its sockets, which are not TCP's."""
        root = f"/proc/{self.network.pid}/root/run/mail-handlers"
        for name in ("pop3", "smtp"):
            wait_for(lambda: os.path.exists(f"{root}/{name}")
                     or self.died(), "s6-ipcserver's socket")


class Installed(FrontDoor):
    """What an operator has after `make install` and putting tls.crt, tls.key
    and users in place."""

    slow = True

    def setUp(self):
        super().setUp()
        files = self.path("files")
        files.mkdir()
        (files / "users").write_text(f"{USER}:{hash_of(PASSWORD)}\n")
        for name, pair in (("tls.crt", self.certs.server.crt),
                           ("tls.key", self.certs.server.key)):
            (files / name).write_bytes(pair.read_bytes())
        (files / "haproxy.pem").write_bytes(
            self.certs.server.crt.read_bytes()
            + self.certs.server.key.read_bytes())
        layers = self.path("layers")
        layers.mkdir()
        self.network = Network(
            self, f"mount -t tmpfs tmpfs {layers}",
            "for folder in etc usr/local var/lib; do "
            f"mkdir -p {layers}/$folder/upper {layers}/$folder/work; "
            "mount -t overlay overlay -o lowerdir=/$folder,"
            f"upperdir={layers}/$folder/upper,"
            f"workdir={layers}/$folder/work /$folder; done",
            "mount -t tmpfs tmpfs /run",
            # This machine may have them already
            "sed -i '/^mail-handlers:/d; /^haproxy:/d' /etc/passwd /etc/group",
            "echo mail-handlers:x:64001:64001::/:/bin/false >>/etc/passwd",
            "echo mail-handlers:x:64001: >>/etc/group",
            "echo haproxy:x:64002:64002::/:/bin/false >>/etc/passwd",
            "echo haproxy:x:64002: >>/etc/group",
            "grep -q ^pop3s /etc/services || "
            "echo pop3s 995/tcp >>/etc/services",
            "grep -q ^submissions /etc/services || "
            "echo submissions 465/tcp >>/etc/services",
            "umask 022",
            "mkdir -p /usr/local/bin /usr/local/sbin /etc/mail-handlers",
            f"cp {POP3} {SMTP} /usr/local/sbin",
            # Not every user may enter the checkout
            f"cp '{TOOLS}'/daemontools/usr/bin/* /usr/local/bin",
            f"cp '{ROOT}'/units/*-handler.conf {files}/* /etc/mail-handlers",
            "cd /etc/mail-handlers", "chgrp mail-handlers tls.key users",
            "chmod 640 tls.key users",
            "mkdir -p /var/lib/mail-handlers/maildir",
            "chown -R mail-handlers: /var/lib/mail-handlers",
            "chmod 700 /var/lib/mail-handlers /var/lib/mail-handlers/maildir",
            "cd /")

    def unit(self, name):
        return (UNITS / name).read_text()

    def service(self, folder, name, run, log):
        """A service as svscan and s6-svscan know them."""
        service = folder / name
        main = service / "log" / "main"
        main.mkdir(parents=True)
        os.chown(main, 64001, 64001)
        for path, text in ((service / "run", self.unit(run)),
                           (service / "log" / "run",
                            (ROOT / "units" / log).read_text())):
            path.write_text(text)
            path.chmod(0o755)
        return main / "current"

    def dial(self, program, address, tls=True):
        sock = self.network.dial((address, PORTS[program]), address)
        peer = KIND[program](self.transport(sock, self.tls if tls else None))
        self.addCleanup(peer.close)
        return peer

    def sessions(self, address, shown=None):
        """A message submitted and fetched from elsewhere; it is stored by
        the right user for him alone."""
        smtp = self.dial(SMTP, address)
        smtp.hello()
        smtp.login(USER, PASSWORD)
        self.assertRegex(str(smtp.message(b"Subject: x\n\nbody\n",
                                          "ann@example.org", USER)),
                         r"250 2\.[06]\.0")
        smtp.quit()
        pop = self.dial(POP3, address)
        pop.login(USER, PASSWORD)
        wire = pop.retr(pop.stat()[0])[1]
        self.assertTrue(wire.endswith(b"\r\nSubject: x\r\n\r\nbody\r\n"))
        received = re.sub(rb"\r\n[ \t]+", b" ", wire).decode()
        self.assertRegex(received, r"\nReceived: from client\.test \([^()]*"
                         + re.escape(shown or f"[{address}]")
                         + r"\) by .* with ESMTPSA ")
        pop.quit()
        folder = (f"/proc/{self.network.pid}/root/var/lib/mail-handlers/"
                  "maildir")
        found = [os.path.join(where, name) for where, _, names
                 in os.walk(folder) for name in names]
        self.assertTrue(found)
        for path in found:
            status = os.stat(path)
            self.assertEqual((status.st_uid, status.st_gid,
                              status.st_mode & 0o077), (64001, 64001, 0))

    def wrong_login(self, address):
        """Costs a second; is refused."""
        pop = self.dial(POP3, address)
        offers(pop)
        self.assertEqual(try_login(pop, USER, "wrong"), WRONG[POP3])

    def test_samples_are_right(self):
        """By the command that stands in them."""
        for program in BOTH:
            done = subprocess.run(
                self.network.enter([
                    "setpriv", "--reuid=64001", "--regid=64001",
                    "--clear-groups", "sh", "-c",
                    f"cd /etc/mail-handlers && exec /usr/local/sbin/"
                    f"{program.name} --config {program.name}.conf "
                    "--check-config"]),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT, env=clean_environment())
            self.assertEqual((done.returncode, done.stdout), (0, b""))

    IPV6 = (Network.REMOTE6, f"[IPv6:{Network.REMOTE6}]")

    def test_xinetd(self):
        Xinetd(self, self.unit("xinetd/pop3-handler")
               + self.unit("xinetd/smtp-handler"), network=self.network,
               ports=PORTS.values())
        self.sessions(Network.REMOTE)
        self.sessions(*self.IPV6)
        self.sessions("127.0.0.1")
        self.wrong_login(Network.REMOTE)

    def test_inetd(self):
        Inetd(self, self.unit("inetd.conf"), network=self.network,
              ports=PORTS.values())
        self.sessions(Network.REMOTE)
        self.wrong_login(Network.REMOTE)

    def test_inetd_ipv6(self):
        """With the one word in its lines that asks for it."""
        Inetd(self, self.unit("inetd.conf").replace("\ttcp\t", "\ttcp6\t"),
              network=self.network, ports=PORTS.values())
        self.sessions(*self.IPV6)

    # Warm: one program for many connections, and the next one when it ended

    def warm_sessions(self, server):
        for _ in range(2):
            self.sessions(Network.REMOTE)
            wait_for(lambda: not self.programs(), "their end")
        self.assertNotIn("looping", server.log())

    def programs(self):
        """Processes of the two programs in that network."""
        network = os.readlink(f"/proc/{self.network.pid}/ns/net")
        found = []
        for path in pathlib.Path("/proc").glob("[0-9]*"):
            try:
                if os.readlink(path / "ns/net") == network:
                    found.append((path / "comm").read_text().strip())
            except OSError:
                pass
        return {"pop3-handler", "smtp-handler"} & set(found)

    def test_xinetd_wait(self):
        text = "".join(self.unit(f"xinetd/{program.name}")
                       for program in BOTH)
        for old, new in (("wait\t\t= no", "wait\t\t= yes"),
                         (".conf\n", ".conf --accept --idle-exit 1\n")):
            self.assertIn(old, text)
            text = text.replace(old, new)
        self.warm_sessions(Xinetd(self, text, network=self.network,
                                  ports=PORTS.values()))

    def test_inetd_wait(self):
        lines = [line[1:] + " --idle-exit 1" for line
                 in self.unit("inetd.conf").splitlines()
                 if line.startswith("#") and "\twait\t" in line]
        self.assertEqual(len(lines), 2)
        self.warm_sessions(Inetd(self, "\n".join(lines) + "\n",
                                 network=self.network, ports=PORTS.values()))

    def daemontools(self, kind):
        folder = self.path("service")
        folder.mkdir()
        logs = [self.service(folder, program.name,
                             f"ucspi/{program.name}.run", "ucspi/log.run")
                for program in (SMTP, POP3)]
        kind(self, folder, network=self.network, ports=PORTS.values())
        return logs

    def test_daemontools(self):
        """supervise, tcpserver and multilog."""
        logs = self.daemontools(Daemontools)
        self.sessions(Network.REMOTE)
        self.sessions("127.0.0.1")
        self.wrong_login(Network.REMOTE)
        for log in logs:
            self.assert_logged(log, Network.REMOTE)

    def assert_logged(self, log, address):
        wait_for(lambda: log.exists() and re.search(
            rf" login: peer=\[?{address}\]?:\d+ user={USER}", log.read_text()),
            "the login in the log")
        wait_for(lambda: re.search(r" end: peer=\S+ reason=quit",
                                   log.read_text()),
                 "the end in the log")

    def test_daemontools_ipv6(self):
        """The same files, with the tcpserver that speaks both."""
        self.daemontools(Daemontools6)
        self.sessions(*self.IPV6)
        self.sessions(Network.REMOTE)

    def s6(self):
        folder = self.path("service")
        folder.mkdir()
        logs = [self.service(folder, program.name, f"s6/{program.name}.run",
                             "s6/log.run") for program in (SMTP, POP3)]
        S6(self, folder, network=self.network)
        return logs

    def test_s6_behind_haproxy(self):
        """haproxy is no root and only of the group that may connect."""
        logs = self.s6()

        class Unprivileged(Haproxy):
            settings = "\tuser haproxy\n\tgroup haproxy\n"
        Unprivileged(self, self.unit("haproxy/mail-handlers.cfg"),
                     network=self.network, ports=PORTS.values())
        self.sessions(Network.REMOTE)
        self.sessions(*self.IPV6)
        self.wrong_login(Network.REMOTE)
        for log in logs:
            self.assert_logged(log, Network.REMOTE)

    def test_s6_behind_stunnel(self):
        logs = self.s6()

        class Unprivileged(Stunnel):
            settings = "setuid = haproxy\nsetgid = haproxy\n"
        Unprivileged(self, self.unit("stunnel/mail-handlers.conf"),
                     network=self.network, ports=PORTS.values())
        self.sessions(Network.REMOTE)
        self.sessions(*self.IPV6)
        for log in logs:
            self.assert_logged(log, Network.REMOTE)

    def test_sockets_are_the_proxys_alone(self):
        """Nobody else may claim to be somebody by a header."""
        self.s6()
        folder = os.stat(f"/proc/{self.network.pid}/root/run/mail-handlers")
        self.assertEqual((folder.st_gid, folder.st_mode & 0o7777),
                         (64002, 0o750))


class StartedHere(FrontDoor):
    """What the units do not show: logins and STARTTLS under each of them,
    outside of any namespace."""

    KINDS = (superservers.SocketActivate, superservers.SocketActivateInetd,
             superservers.Tcpserver, superservers.Tcpserver6,
             superservers.Inetd, superservers.Xinetd)

    def server(self, kind, program, *options, **kwargs):
        return kind(self, self.argv(program, "--maildir", self.mail,
                                    *options), **kwargs)

    def test_starttls_and_logins(self):
        """The server speaks first; by file and by exec."""
        users = self.users(f"joe:{hash_of('secret-pw')}")
        passwords = self.write("passwords", "joe secret-pw\n", 0o644)
        for kind in self.KINDS:
            for program, auth in (
                    (SMTP, f"file:{users}"),
                    (POP3, f"exec:{HELPERS / 'checkpassword.sh'} "
                           f"{passwords} true")):
                with self.subTest(kind=kind.__name__, program=program.name):
                    server = self.server(kind, program, "--tls", "starttls",
                                         *self.certs.server.options(),
                                         "--auth", auth)
                    peer = self.connect(server.port, KIND[program],
                                        host=server.host)
                    self.assertTrue({"STARTTLS", "STLS"} & offers(peer))
                    start_tls(peer, self.tls)
                    if program == SMTP:
                        peer.ehlo()
                    self.assertEqual(try_login(peer), RIGHT[program])
                    peer.send("QUIT\r\n")
                    self.assertRegex(peer.rest(), rb"^(221 2\.0\.0|\+OK) ")

    def test_peers_are_local(self):
        """So logins are offered without TLS; the super-server's own word is
        a witness too, and agrees."""
        for kind in self.KINDS:
            with self.subTest(kind=kind.__name__):
                server = self.server(kind, SMTP, "--tls", "off", "--auth",
                                     "any")
                peer = self.connect(server.port, SmtpPeer, host=server.host)
                self.assertIn("AUTH", offers(peer))

    def test_nothing_but_protocol(self):
        """Whatever goes wrong: what the peer gets is protocol or nothing."""
        for kind in self.KINDS:
            for program, options in (
                    (POP3, ["--no-such-option"]),
                    (SMTP, ["--tls", "off", "--auth", "everybody"]),
                    (POP3, ["--tls-cert", "/gone", "--auth", "any"]),
                    (SMTP, ["--tls", "off", "--auth", "file:/gone"])):
                with self.subTest(kind=kind.__name__, options=options):
                    server = self.server(kind, program, *options)
                    peer = self.connect(server.port, KIND[program],
                                        host=server.host)
                    try:
                        got = peer.rest()
                    except ConnectionResetError:
                        got = bytes(peer.buffer)
                    self.assertEqual(got, b"")
