"""Certificates, made with the openssl command once a run of the tests."""

import fcntl
import functools
import pathlib
import ssl
import subprocess

from mailtest import shared_folder

ECDSA = ("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")
RSA = ("rsa:2048",)
GOOD_NAMES = "DNS:localhost,IP:127.0.0.1,IP:::1,IP:192.0.2.1"


def openssl(*args):
    subprocess.run(["openssl", *map(str, args)], check=True,
                   stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                   stderr=subprocess.PIPE)


class Pair:
    """A certificate chain and its key."""

    def __init__(self, folder, name):
        self.crt = folder / f"{name}.crt"
        self.key = folder / f"{name}.key"

    def options(self):
        return ["--tls-cert", self.crt, "--tls-key", self.key]

    def server_context(self):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(self.crt, self.key)
        return context


CA_CONFIG = """\
[ca]
default_ca = tests
[tests]
database = {folder}/index
new_certs_dir = {folder}
rand_serial = yes
default_md = sha256
policy = names
[names]
commonName = supplied
"""


class Certificates:
    """ca and other_ca sign; server and rsa are for localhost; expired and
    wrong_name are what they say, signed by ca; stranger is for localhost,
    signed by other_ca."""

    def __init__(self, folder):
        self.folder = folder
        for name in ("ca", "other_ca", "server", "rsa", "expired",
                     "wrong_name", "stranger"):
            setattr(self, name, Pair(folder, name))

    def make(self):
        for ca in (self.ca, self.other_ca):
            openssl("req", "-x509", "-newkey", *ECDSA, "-nodes", "-days", 30,
                    "-subj", f"/CN=test {ca.crt.stem}", "-addext",
                    "keyUsage=critical,keyCertSign,cRLSign",
                    "-keyout", ca.key, "-out", ca.crt)
        self.sign(self.server, self.ca, GOOD_NAMES)
        self.sign(self.rsa, self.ca, GOOD_NAMES, key=RSA)
        self.sign(self.expired, self.ca, GOOD_NAMES, expired=True)
        self.sign(self.wrong_name, self.ca, "DNS:other.test")
        self.sign(self.stranger, self.other_ca, GOOD_NAMES)

    def sign(self, pair, ca, names, expired=False, key=ECDSA):
        request = self.folder / f"{pair.crt.stem}.csr"
        extensions = self.folder / f"{pair.crt.stem}.ext"
        # All that RFC 5280 asks for, as Python since 3.13 does
        extensions.write_text(f"subjectAltName={names}\n"
                              "basicConstraints=CA:FALSE\n"
                              "subjectKeyIdentifier=hash\n"
                              "authorityKeyIdentifier=keyid\n")
        openssl("req", "-new", "-newkey", *key, "-nodes",
                "-subj", f"/CN=test {pair.crt.stem}",
                "-keyout", pair.key, "-out", request)
        if not expired:
            openssl("x509", "-req", "-in", request, "-CA", ca.crt, "-CAkey",
                    ca.key, "-CAcreateserial", "-days", 30, "-extfile",
                    extensions, "-out", pair.crt)
            return
        # x509 takes dates in the past since OpenSSL 3.4 only
        (self.folder / "index").touch()
        config = self.folder / "ca.cnf"
        config.write_text(CA_CONFIG.format(folder=self.folder))
        openssl("ca", "-batch", "-notext", "-config", config, "-in", request,
                "-cert", ca.crt, "-keyfile", ca.key, "-startdate",
                "200101000000Z", "-enddate", "200102000000Z", "-extfile",
                extensions, "-out", pair.crt)

    def client_context(self, version=None):
        """Trusts ca; version: the only one spoken.  An end without
        close_notify is an error, which Python hides unless told so."""
        context = ssl.create_default_context(cafile=str(self.ca.crt))
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        if version:
            context.minimum_version = context.maximum_version = version
        return context


@functools.cache
def certificates():
    folder = pathlib.Path(shared_folder()) / "certs"
    folder.mkdir(exist_ok=True)
    certs = Certificates(folder)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (folder / "done").exists():
            certs.make()
            (folder / "done").touch()
    return certs
